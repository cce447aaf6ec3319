-- How many customers has each reseller, and what share of all is that?
-- Resellers without customers are listed too. A customer of two resellers counts for both.
select r.id,
       r.name                                                          as reseller,
       count(m.id)                                                     as customers,
       round(100.0 * count(m.id) / nullif(sum(count(m.id)) over (), 0), 1) as percent
from indirect_resellers r
left join reseller_customers m on m.reseller_id = r.id and m._sdc_deleted_at is null
where r._sdc_deleted_at is null
group by r.id, r.name
order by customers desc, reseller;
