-- damage.lua FROM TO OFFSET [LENGTH]: copies a file with one byte changed, and, if it is said, only its first LENGTH bytes.
local from, to, offset, length = arg[1], arg[2], tonumber(arg[3]), tonumber(arg[4])
local file = assert(io.open(from, "rb"))
local bytes = file:read("a")
file:close()
bytes = bytes:sub(1, offset) .. string.char(bytes:byte(offset + 1) ~ 0xff) .. bytes:sub(offset + 2)
file = assert(io.open(to, "wb"))
file:write(bytes:sub(1, length or #bytes))
file:close()
