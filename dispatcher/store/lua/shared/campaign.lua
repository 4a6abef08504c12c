-- USES base
-- How many messages a campaign has in which state.

-- One message of a campaign more or less in a state: one command. That the campaign is alive is written down with the
-- first message of each state and with every 16th, so its last activity is not exact.
local CAMPAIGN_KEPT = 30 * 86400 * 1000 -- ms that counts stay after that

local function tally(campaign, state, by)
  if not campaign or campaign == '' then return end
  local name = CELL .. 'campaign:' .. campaign
  local total = try('HINCRBY', name, state, by)
  if not total or total ~= 1 and total % 16 ~= 0 then return end
  try('ZADD', CELL .. 'campaigns', int(now), campaign)
  redis.call('PEXPIRE', name, CAMPAIGN_KEPT)
end
