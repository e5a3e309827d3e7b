-- KEYS: rows, index, and on a server by itself: pointers.
-- ARGV: digest, row without subjects, subjects, how ('look', 'make'), tag of the rows, last time to make it in ms or ''.
-- The token that the value has; 0: it has none; 1: the token is another value's; 2: too late; 3: its row does not read.
local INLINE = 32
local rows, index, pointers = KEYS[1], KEYS[2], KEYS[3]
local digest, subjects = ARGV[1], ARGV[3]
local row = redis.call('HGET', rows, digest)
if row and not is_row(row) then
  must_be_primary(rows)
  return 3
end
local is_new = not row
if is_new then
  if ARGV[4] == 'look' then
    must_be_primary(rows)
    return 0
  end
  local now = redis.call('TIME')
  row = ARGV[2]
  if pointers then
    local pointer = redis.call('HGET', pointers, token_of(row))
    if pointer and pointer:sub(5, 36) ~= digest then return 1 end
    redis.call('HSET', pointers, token_of(row), struct.pack('>I4', tonumber(now[1])) .. digest .. ARGV[5])
  elseif now[1] * 1000 + now[2] / 1000 > tonumber(ARGV[6]) then
    return 2
  end
  local ends = ends_of(row)
  if ends then redis.call('ZADD', index, 0, 'e' .. ends .. digest) end
end
local added, spilt = {}, is_spilt(row)
local at, count = subjects_of(row)
for first = 1, #subjects, 16 do
  local subject = subjects:sub(first, first + 15)
  if redis.call('ZADD', index, 0, 's' .. subject .. digest) == 1 then
    if count + #added < INLINE then
      added[#added + 1] = subject
    else
      redis.call('ZADD', index, 0, 'm' .. digest .. subject)
      spilt = true
    end
  end
end
if is_new or #added > 0 or spilt ~= is_spilt(row) then
  local flags = (ends_of(row) and 1 or 0) + (spilt and 2 or 0)
  local behind = at + 2 + 16 * count
  local all = count + #added
  row = row:sub(1, 1) .. string.char(flags) .. row:sub(3, at - 1) .. string.char(math.floor(all / 256), all % 256)
    .. row:sub(at + 2, behind - 1) .. table.concat(added) .. row:sub(behind)
  redis.call('HSET', rows, digest, row)
end
-- Not in front: behind a first write, whatever came of it, memory is not looked at any more.
must_be_primary(rows)
return token_of(row)
