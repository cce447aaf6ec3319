-- Which customers are served by more than one reseller?
select m.id,
       min(m."companyProfile"->>'companyName')  as customer,
       count(*)                                 as resellers,
       string_agg(r.name, ' | ' order by r.name) as names
from reseller_customers m
left join indirect_resellers r on r.id = m.reseller_id
where m._sdc_deleted_at is null
group by m.id
having count(*) > 1
order by m.id;
