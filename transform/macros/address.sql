{# The columns of an address, a member of an object: address('companyProfile', 'address', 'company'). #}
{% macro address(column, name, prefix) %}
    {%- set fields = {
        'country': 'country',
        'region': 'region',
        'city': 'city',
        'state': 'state',
        'district': 'district',
        'addressLine1': 'address_line1',
        'addressLine2': 'address_line2',
        'addressLine3': 'address_line3',
        'postalCode': 'postal_code',
    } -%}
    {%- for field, suffix in fields.items() %}
    {{ partnercenter.member(column, name, field) }} as {{ prefix }}_{{ suffix }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}
