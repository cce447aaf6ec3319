-- Which customers moved to another reseller, and when was it noticed?
-- The pair of the old reseller is marked, that of the new one is alive. A customer that left one of
-- its two resellers looks the same.
select now.id,
       now."companyProfile"->>'companyName' as customer,
       old_reseller.name                    as moved_from,
       new_reseller.name                    as moved_to,
       was._sdc_deleted_at                  as noticed_at
from reseller_customers was
join reseller_customers now on now.id = was.id and now._sdc_deleted_at is null
left join indirect_resellers old_reseller on old_reseller.id = was.reseller_id
left join indirect_resellers new_reseller on new_reseller.id = now.reseller_id
where was._sdc_deleted_at is not null
order by noticed_at desc, now.id, moved_from, moved_to;
