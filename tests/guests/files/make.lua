-- Makes the files that the other programs are given.

local function write(name, bytes)
	local file = assert(io.open(name, "wb"))
	assert(file:write(bytes))
	assert(file:close())
end

local function from_hex(hex)
	return (hex:gsub("%x%x", function(byte) return string.char(tonumber(byte, 16)) end))
end

-- What gzip and bzip2 make of "hello, world\n".
write("hello.gz", from_hex "1f8b0800000000000203cb48cdc9c9d75128cf2fca49e10200537424f40d000000")
write("hello.bz2", from_hex "425a683931415926535954a49784000002d180001040040644908020003100302068620049d4b21f3f17724538509054a49784")

-- Text with more and less frequent words.
local words = {"lorem", "ipsum", "dolor", "sit", "amet", "consectetur", "adipiscing", "elit", "sed", "do", "eiusmod", "tempor"}
local state, text = 1, {}
for i = 1, 20000 do
	state = (state * 1103515245 + 12345) & 0x7fffffff
	local word = (state >> 16) % 100
	text[i] = words[word * word // 900 + 1] .. (i % 12 == 0 and "\n" or " ")
end
write("text", table.concat(text))

-- A picture, 64 by 48.
local picture = {"P6\n64 48\n255\n"}
for y = 0, 47 do
	for x = 0, 63 do picture[#picture + 1] = string.char(x * 4, y * 5, (x + y) * 2) end
end
write("a.ppm", table.concat(picture))
