-- What wrk sends. The kind of work and its credentials come by the environment; the threads count apart.
local kind = os.getenv("BENCH_KIND")
local token = os.getenv("BENCH_TOKEN")
local session = os.getenv("BENCH_SESSION")
local rows = tonumber(os.getenv("BENCH_ROWS"))
local run = os.getenv("BENCH_RUN")

local threads = 0
function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

local count = 0
local json = { ["Authorization"] = "Bearer " .. (token or ""), ["Content-Type"] = "application/json" }
local bearer = { ["Authorization"] = "Bearer " .. (token or "") }
local institution = { ["X-CDLX-Session-Token"] = session, ["Content-Type"] = "application/json" }

function init()
  math.randomseed(os.time() * 1000 + number)
end

local function unique()
  count = count + 1
  return run .. "-" .. number .. "-" .. count
end

local function enrolled()
  local id = unique()
  return string.format('{"sourceCustomerId":"%s","organizationId":"north","postalCode":"10115","country":"DE",'
    .. '"customerCreationDate":"2026-01-05T08:00:00Z","enrollmentStartDate":"2026-01-05T08:00:00Z",'
    .. '"enrollmentOptInStatus":"ACTIVE","alertOptInStatus":["ALL"],"targetingIndicator":"TARGET","accounts":[{'
    .. '"sourceAccountId":"a-%s","sourceCustomerIds":["%s"],"primarySourceCustomerId":"%s","status":"OPEN","type":"CRD",'
    .. '"sourcePortfolioId":"p-1","accountOpenDate":"2026-01-05T08:00:00Z","cards":[{"sourceAccountId":"a-%s",'
    .. '"sourceCustomerId":"%s","last4":"4242","iin":"424242","cardType":"CREDIT","status":"OPEN",'
    .. '"networkIdentifier":4,"openDate":"2026-01-05T08:00:00Z"}]}]}', id, id, id, id, id, id)
end

local function intake()
  local id = unique()
  return string.format('{"name":"Ada %s","email":"ada-%s@example.com","source":"bench"}', id, id)
end

local function fifty(one)
  local items = {}
  for i = 1, 50 do items[i] = one() end
  return '{"customers":[' .. table.concat(items, ",") .. "]}"
end

local after = 0
local kinds = {
  create = function() return wrk.format("POST", "/v1/customers", json, '{"externalId":"' .. unique() .. '"}') end,
  get = function() return wrk.format("GET", "/v1/customers/" .. math.random(rows), bearer) end,
  external = function() return wrk.format("GET", "/v1/customers/external/seed-" .. math.random(rows), bearer) end,
  list = function() return wrk.format("GET", "/v1/customers?rows=50&after=" .. os.getenv("BENCH_CURSOR"), bearer) end,
  page = function()
    return wrk.format("GET", "/v1/customers?rows=50&orderBy=displayName&page=" .. os.getenv("BENCH_QUERY"), bearer)
  end,
  publisher = function() return wrk.format("POST", "/v2/data/customers", institution, fifty(enrolled)) end,
  bulk = function() return wrk.format("POST", "/external/v1/customers/bulk", json, fifty(intake)) end,
  search = function() return wrk.format("GET", "/v1/customers?rows=20&after=&q=" .. os.getenv("BENCH_QUERY"), bearer) end,
}
request = kinds[kind]

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("RESULT %d %d %d %.0f %.0f\n", summary.requests, summary.duration, failed,
    latency:percentile(50), latency:percentile(99)))
end
