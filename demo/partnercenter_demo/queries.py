"""The questions that the demo asks the loaded tables. The API's camelCase names need quotes."""

from __future__ import annotations

CUSTOMERS_WITH_RESELLER = """\
select left(c.id, 8)                      as id,
       c."companyProfile"->>'companyName' as customer,
       r.name                             as reseller
from tap_partnercenter.customers c
left join tap_partnercenter.customer_relationships l on l.customer_id = c.id
left join tap_partnercenter.indirect_resellers r on r.id = l.id
order by c.id
limit 8"""

LARGEST_RESELLERS = """\
select r.name as reseller, count(*) as customers
from tap_partnercenter.reseller_customers c
join tap_partnercenter.indirect_resellers r on r.id = c.reseller_id
group by r.id, r.name
order by customers desc, reseller
limit 10"""

MOST_SUBSCRIBED = """\
select "offerName" as offer, sum(quantity)::bigint as seats
from tap_partnercenter.subscriptions
where status = 'active' and "unitType" = 'Licenses'
group by "offerName"
order by seats desc, offer
limit 5"""
