-- sum.lua FILE...: prints each file's length and a checksum (FNV-1a, 64 bits).
for _, name in ipairs(arg) do
	local file = assert(io.open(name, "rb"))
	local bytes = file:read("a")
	file:close()
	local sum = 0xcbf29ce484222325
	for i = 1, #bytes do sum = (sum ~ bytes:byte(i)) * 0x100000001b3 end
	print(string.format("%s %d %016x", name, #bytes, sum))
end
