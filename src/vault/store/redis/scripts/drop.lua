-- KEYS: rows, index. ARGV: digest, token; for what does not read, and for what leads to nothing: digest, '', what stands in the index or ''.
-- Whether the row was there (1, 0), and the time in s: it is not there now.
local rows, index, digest = KEYS[1], KEYS[2], ARGV[1]
must_be_primary(rows)
local now = tonumber(redis.call('TIME')[1])
local row = redis.call('HGET', rows, digest)
if ARGV[2] == '' then
  if row and is_row(row) then return { 0, now } end
  if ARGV[3] ~= '' then redis.call('ZREM', index, ARGV[3]) end
  return { redis.call('HDEL', rows, digest), now }
end
if not row or not is_row(row) or token_of(row) ~= ARGV[2] then return { 0, now } end
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
return { 1, now }
