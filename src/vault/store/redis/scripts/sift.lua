-- KEYS: rows. ARGV: cursor, count, domain or '', epoch or '', time in ms before which it was issued, as two halves, or ''.
-- The next cursor, how many do not read, and of each that is meant the digest, and the row up to its epoch.
must_be_primary(KEYS[1])
local scanned = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local found = { scanned[1], 0 }
local high, low = tonumber(ARGV[5]), tonumber(ARGV[6])
for at = 1, #scanned[2], 2 do
  local row = scanned[2][at + 1]
  local whole = is_row(row)
  if not whole then found[2] = found[2] + 1 end
  local meant = whole and (ARGV[3] == '' or row:sub(20, 35) == ARGV[3]) and (ARGV[4] == '' or row:sub(36, 39) == ARGV[4])
  if meant and high then
    local issued_high, issued_low = struct.unpack('>I4I4', row:sub(40, 47))
    meant = issued_high < high or (issued_high == high and issued_low < low)
  end
  if meant then
    found[#found + 1] = scanned[2][at]
    found[#found + 1] = row:sub(1, 39)
  end
end
return found
