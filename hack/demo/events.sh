#!/bin/sh
# Prints the events of the demo, one CloudEvent (JSON) a line: orders of three shops, and one event that the flaky receiver refuses for ever.
# Each shop numbers its events in `demoindex`, so that a receiver notices a missing one.
#
# events.sh [ORDERS]      ORDERS of each shop, 20 unless told; four events an order
set -eu

awk -v orders="${1:-20}" '
function event(source, index_, type, data) {
    printf "{\"specversion\":\"1.0\",\"id\":\"%s-%d\",\"source\":\"/shops/%s\",\"type\":\"com.example.order.%s\",\"demoindex\":%d,", source, index_, source, type, index_
    printf "\"datacontenttype\":\"application/json\",\"data\":%s}\n", data
}
BEGIN {
    shops = split("amsterdam berlin cadiz", shop, " ")
    steps = split("placed paid packed shipped", step, " ")
    for (order = 1; order <= orders; order++)
        for (s = 1; s <= steps; s++)
            for (at = 1; at <= shops; at++) {
                data = sprintf("{\"order\":%d,\"shop\":\"%s\",\"step\":\"%s\",\"cents\":%d}", order, shop[at], step[s], 1000 + order * 37)
                event(shop[at], (order - 1) * steps + s, step[s], data)
                if (order == 2 && s == 1 && at == 1) event("dordrecht", 1, "garbled", "{\"order\":null}")
            }
}'
