"""The questions that the demo answers, each with a model of the dbt package."""

from __future__ import annotations

SEVERAL_RESELLERS = """\
select left(customer_id, 8) as id, company_name as customer, reseller_names
from partnercenter.customers_with_several_resellers
order by customer_id
limit 8"""

LARGEST_RESELLERS = """\
select reseller_name as reseller, customers
from partnercenter.customers_by_reseller
order by customers desc, reseller
limit 10"""

MOST_SUBSCRIBED = """\
select offer_name as offer, seats
from partnercenter.seats_by_offer
order by seats desc, offer
limit 5"""
