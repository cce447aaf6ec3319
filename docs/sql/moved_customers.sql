-- Which customers moved to another reseller, and when was it noticed?
-- The pair of the old reseller is marked; the customer moved to the reseller whose pair was marked
-- next, or to those whose pairs are alive. A customer that left one of its two resellers looks the
-- same, and one that came back to a reseller shows its return only.
select newer.id,
       newer."companyProfile"->>'companyName' as customer,
       old_reseller.name                      as moved_from,
       new_reseller.name                      as moved_to,
       was._sdc_deleted_at                    as noticed_at
from reseller_customers was
cross join lateral (
  select later.id, later.reseller_id, later."companyProfile"
  from reseller_customers later
  where later.id = was.id
    and coalesce(later._sdc_deleted_at, 'infinity') > was._sdc_deleted_at
  order by coalesce(later._sdc_deleted_at, 'infinity')
  fetch first row with ties
) newer
left join indirect_resellers old_reseller on old_reseller.id = was.reseller_id
left join indirect_resellers new_reseller on new_reseller.id = newer.reseller_id
order by noticed_at desc, newer.id, moved_from, moved_to;
