-- Errors of Lua go through longjmp: out of Lua functions, out of C functions that call Lua, out of coroutines, and over many calls.
print(pcall(error, {}) == false, select("#", pcall(error, nil)))
print(pcall(function() local t; return t.x end))
print(pcall(string.rep, "x", -1), pcall(string.rep, "x", 1 << 31))
print(pcall(string.gsub, "abc", ".", function(c) if c == "c" then error("at c", 0) end end))
print(pcall(table.sort, {3, 1, 2}, function() error("sort", 0) end))
print(select(2, xpcall(function() error("seen", 0) end, function(message) return message .. " by the handler" end)))

local co = coroutine.wrap(function(a)
	local ok, b = pcall(coroutine.yield, a + 1)
	error("in the coroutine: " .. b, 0)
end)
print(co(1), select(2, pcall(co, 5)))

local function depth(n) if n == 0 then error(n, 0) end return (depth(n - 1)) end
print(pcall(depth, 100))
print((select(2, pcall(function() local function f() return f() + 1 end return f() end)):gsub(".*: ", "")))

-- Nested, each error caught and another one thrown.
local function nested(n)
	if n == 0 then error(0, 0) end
	local _, message = pcall(nested, n - 1)
	error(message + 1, 0)
end
print(pcall(nested, 100))

-- Values that are to be closed are, on the way out.
do
	local function closing(name) return setmetatable({}, {__close = function() io.write("closed ", name, ", ") end}) end
	print(pcall(function()
		local a <close> = closing "a"
		local b <close> = closing "b"
		error("done", 0)
	end))
end

-- Many, and no memory is lost.
collectgarbage()
local before = collectgarbage("count")
local caught = 0
for i = 1, 20000 do if not pcall(error, i) then caught = caught + 1 end end
collectgarbage()
print(caught, collectgarbage("count") - before < 16)

-- What there is no WASI for.
print(os.execute(), select(2, io.tmpfile()), pcall(os.tmpname))
print(os.getenv("COLOUR"), arg[1], #arg)
print(io.open("/etc/passwd"))
print(io.open("../outside"))
