-- Which customers vanished, when was it noticed, and whose were they last?
with pairs as (
  select m.id,
         r.name,
         rank() over (partition by m.id order by m._sdc_table_version desc nulls last) as age
  from reseller_customers m
  left join indirect_resellers r on r.id = m.reseller_id
)
select c.id,
       c."companyProfile"->>'companyName' as customer,
       (
         select string_agg(p.name, ' | ' order by p.name)
         from pairs p
         where p.id = c.id and p.age = 1
       )                                  as last_resellers,
       c._sdc_deleted_at                  as noticed_at
from customers c
where c._sdc_deleted_at is not null
order by noticed_at desc, c.id;
