-- A row, under the digest of its value: form, flags (1: ends, 2: spilt), spelling, token (16 bytes), domain (16), epoch (4),
-- issued (8), [ends (8)], count of subjects (2), subjects (16 each), sealed value.
local function token_of(row) return row:sub(4, 19) end
local function ends_of(row) if row:byte(2) % 2 == 1 then return row:sub(48, 55) end end
local function is_spilt(row) return row:byte(2) >= 2 end
-- Where the count of subjects stands, and the count.
local function subjects_of(row)
  local at = ends_of(row) and 56 or 48
  return at, row:byte(at) * 256 + row:byte(at + 1)
end
-- Whether it is whole up to its sealed value, and of this form: what is damaged must not make a script fail.
local function is_row(row)
  if #row < 49 or row:byte(1) ~= 1 or row:byte(2) > 3 or row:byte(3) > 2 then return false end
  local at = ends_of(row) and 56 or 48
  if #row < at + 1 then return false end
  local _, count = subjects_of(row)
  return #row >= at + 1 + 16 * count
end
-- Does nothing, and fails where nothing may be written: on what has become a replica, which may be behind.
local function must_be_primary(key) redis.call('HDEL', key, '') end
-- Subjects of a value that are not in its row.
local function members_of(index, digest)
  return redis.call('ZRANGEBYLEX', index, '[m' .. digest, '[m' .. digest .. string.rep('\255', 16))
end
-- The digest, the row and all further subjects of a token; false if it is not kept. A row that does not read is given as it is.
local function entry(rows, index, digest, token)
  local row = redis.call('HGET', rows, digest)
  if not row then return false end
  if not is_row(row) then return { digest, row } end
  if token_of(row) ~= token then return false end
  local found = { digest, row }
  if is_spilt(row) then
    for _, member in ipairs(members_of(index, digest)) do found[#found + 1] = member:sub(34) end
  end
  return found
end
