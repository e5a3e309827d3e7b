-- KEYS: rows, index. ARGV: digest, token or '', what has to stand in the index or ''.
-- The row up to its epoch, and the time in s; false if there is none such.
local rows, index, digest = KEYS[1], KEYS[2], ARGV[1]
must_be_primary(rows)
local row = redis.call('HGET', rows, digest)
if not row or (ARGV[2] ~= '' and token_of(row) ~= ARGV[2]) then return false end
if ARGV[3] ~= '' and not redis.call('ZSCORE', index, ARGV[3]) then return false end
redis.call('HDEL', rows, digest)
local ends = ends_of(row)
if ends then redis.call('ZREM', index, 'e' .. ends .. digest) end
local at, count = subjects_of(row)
for first = at + 2, at + 1 + 16 * count, 16 do
  redis.call('ZREM', index, 's' .. row:sub(first, first + 15) .. digest)
end
if is_spilt(row) then
  for _, member in ipairs(members_of(index, digest)) do
    redis.call('ZREM', index, member, 's' .. member:sub(34) .. digest)
  end
end
return { row:sub(1, 39), tonumber(redis.call('TIME')[1]) }
