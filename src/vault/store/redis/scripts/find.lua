-- For a server by itself. KEYS: pointers. ARGV: token, prefix of all keys. As `entry`.
must_be_primary(KEYS[1])
local pointer = redis.call('HGET', KEYS[1], ARGV[1])
if not pointer then return false end
local bucket = ARGV[2] .. '{' .. pointer:sub(37) .. '}'
return entry(bucket .. 'r', bucket .. 'i', pointer:sub(5, 36), ARGV[1])
