-- compare.lua A.ppm B.ppm: prints the size of both pictures, and by how much their samples differ on average.
local function read(name)
	local file = assert(io.open(name, "rb"))
	local bytes = file:read("a")
	file:close()
	local width, height, pixels = bytes:match("^P6\n(%d+) (%d+)\n255\n(.*)$")
	assert(#pixels == width * height * 3, name)
	return width .. "x" .. height, pixels
end
local size_a, a = read(arg[1])
local size_b, b = read(arg[2])
assert(size_a == size_b)
local sum = 0
for i = 1, #a do sum = sum + math.abs(a:byte(i) - b:byte(i)) end
print(size_a, sum / #a < 3 and "nearly the same" or "different: " .. sum / #a)
