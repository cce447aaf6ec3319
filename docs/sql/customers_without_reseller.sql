-- Which customers have no reseller?
select c.id,
       c."companyProfile"->>'companyName' as customer,
       c."companyProfile"->>'domain'      as domain
from customers c
where c._sdc_deleted_at is null
  and not exists (
    select from reseller_customers r
    where r.id = c.id and r._sdc_deleted_at is null
  )
order by c.id;
