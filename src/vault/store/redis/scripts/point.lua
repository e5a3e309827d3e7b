-- KEYS: pointers. ARGV: token, digest, tag of the rows.
-- The time in ms at which the pointer was written; -1: the token is another value's.
local now = redis.call('TIME')
local pointer = redis.call('HGET', KEYS[1], ARGV[1])
if pointer and pointer:sub(5, 36) ~= ARGV[2] then return -1 end
redis.call('HSET', KEYS[1], ARGV[1], struct.pack('>I4', tonumber(now[1])) .. ARGV[2] .. ARGV[3])
return now[1] * 1000 + math.floor(now[2] / 1000)
