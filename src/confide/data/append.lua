-- Appends records that follow one another, each once. Format: docs/formats/sealed-record.md.
-- KEYS: the stream, the hash of its producers. ARGV: producer, id of its data key, number of the first record, records.
local known = redis.call('HGET', KEYS[2], ARGV[1])
local last, epoch = 0, ARGV[2]
if known then
  local number, id = string.match(known, '^(%d+) (%x+)$')
  last, epoch = tonumber(number), id
end
local number = tonumber(ARGV[3])
if number <= last and epoch ~= ARGV[2] then
  return redis.error_reply('ROLLBACK the stream has had number ' .. ARGV[3] .. ' of this producer already')
end
if number > last + 1 then
  return redis.error_reply('GAP number ' .. ARGV[3] .. ' of this producer does not follow what the stream has had')
end
for at = 4, #ARGV do
  if number > last then
    redis.call('XADD', KEYS[1], '*', 'record', ARGV[at])
    last = number
  end
  number = number + 1
end
redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f %s', last, ARGV[2]))
return redis.status_reply('OK')
