{#
    The rows of a stream that the API holds today, after any runs: full, partial, sharded, resumed or
    with skipped customers, with or without deletes. A row is gone if it was extracted before its
    list, or its customer, was last read.

    Columns that the loader has not created, because they are not selected, are null.
#}
{% macro todays_rows(stream, columns) %}
{%- set table = source('partnercenter', stream) -%}
{%- set present = adapter.get_columns_in_relation(table) | map(attribute='name') | map('lower') | list -%}
select
    {%- for name in columns %}
    {% if name | lower in present %}loaded.{% else %}cast(null as {{ dbt.type_string() }}) as {% endif %}{{ adapter.quote(name) }},
    {%- endfor %}
    loaded._sdc_extracted_at as extracted_at
from {{ table }} as loaded
where {{ partnercenter.is_held(stream, '_sdc_deleted_at' in present) }}
{%- endmacro %}


{# The condition for a row of the table `loaded`. #}
{% macro is_held(stream, is_marked) %}
{%- set customer_id = 'loaded.id' if stream == 'customer_details' else 'loaded.customer_id' -%}
{{ 'loaded._sdc_deleted_at is null' if is_marked else 'true' }}
{%- if stream == 'audit_records' -%}
    {# The log is never changed. #}
{%- elif stream in ['customers', 'indirect_resellers', 'invoices'] -%}
    {%- if partnercenter.are_loaded('list_refreshes') %}
    and not exists (
        select 1 from {{ source('partnercenter', 'list_refreshes') }} as refresh
        where refresh.stream = '{{ stream }}'
            and refresh.refreshed_at > loaded._sdc_extracted_at
            and refresh.shard_index = {{ partnercenter.shard_hash('loaded.id') }} % refresh.shard_count
    )
    {%- endif %}
{%- elif stream == 'reseller_customers' -%}
    {%- if partnercenter.are_loaded('list_refreshes') %}
    and not exists (
        select 1 from {{ source('partnercenter', 'list_refreshes') }} as refresh
        where refresh.stream = '{{ stream }}'
            and refresh.reseller_id = loaded.reseller_id
            and refresh.refreshed_at > loaded._sdc_extracted_at
    )
    {%- endif %}
    {%- if partnercenter.are_loaded('indirect_resellers') %}
    {# Configured ids are in lower case, those of the list as the service spells them. #}
    and lower(loaded.reseller_id) in (
        select lower(reseller_id) from {{ ref('stg_partnercenter__indirect_resellers') }}
    )
    {%- endif %}
{%- else -%}
    {%- if partnercenter.are_loaded('customer_refreshes') %}
    and not exists (
        select 1 from {{ source('partnercenter', 'customer_refreshes') }} as refresh
        where refresh.stream = '{{ stream }}'
            and refresh.customer_id = {{ customer_id }}
            and refresh.refreshed_at > loaded._sdc_extracted_at
    )
    {%- endif %}
    {%- if partnercenter.are_loaded('customers') %}
    and {{ customer_id }} in (select customer_id from {{ ref('stg_partnercenter__customers') }})
    {%- endif %}
{%- endif %}
{%- endmacro %}


{# The number that the tap divides by the number of shards: the first 32 bits of an id's MD5. #}
{% macro shard_hash(id) %}
    {{- return(adapter.dispatch('shard_hash', 'partnercenter')(id)) -}}
{% endmacro %}

{% macro postgres__shard_hash(id) -%}
('x' || left(md5(lower({{ id }})), 8))::bit(32)::bigint
{%- endmacro %}

{% macro duckdb__shard_hash(id) -%}
('0x' || left(md5(lower({{ id }})), 8))::bigint
{%- endmacro %}
