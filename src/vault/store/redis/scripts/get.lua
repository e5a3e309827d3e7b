-- KEYS: rows, index. ARGV: digest, token. As `entry`.
must_be_primary(KEYS[1])
return entry(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
