-- KEYS: pointers. ARGV: token, digest, last time to do this in s, least age in s.
-- For whoever saw just now that the value has no row with this token.
local now = tonumber(redis.call('TIME')[1])
local pointer = redis.call('HGET', KEYS[1], ARGV[1])
if not pointer or pointer:sub(5, 36) ~= ARGV[2] or now > tonumber(ARGV[3]) then return 0 end
if struct.unpack('>I4', pointer) + tonumber(ARGV[4]) >= now then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])
