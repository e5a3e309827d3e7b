-- For what is to be forgotten. KEYS: rows, index. ARGV: digest, token or '', what has to stand in the index or ''.
-- The row up to its epoch; false if there is none such; of one that does not read a list, of what is left of its token.
local rows, index, digest, token, led = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
must_be_primary(rows)
local row = redis.call('HGET', rows, digest)
if not row then return false end
if not is_row(row) then return { token_of(row) } end
if token ~= '' and token_of(row) ~= token then return false end
if led ~= '' and not redis.call('ZSCORE', index, led) then return false end
return row:sub(1, 39)
