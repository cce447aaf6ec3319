# Two images:
#   docker build --tag tap-partnercenter .                        the tap alone
#   docker build --tag partnercenter-meltano --target meltano .   Meltano, the tap, target-postgres, dbt

FROM python:3.13-slim-bookworm AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir uv==0.13.8
WORKDIR /source
COPY pyproject.toml README.md CHANGELOG.md LICENSE constraints.txt ./
COPY schemas ./schemas
COPY tap_partnercenter ./tap_partnercenter
# The version cannot come from Git, which is not in the build.
ARG VERSION=0.1.0.dev0
# The constraints contain a hash of every file that may be installed.
RUN SETUPTOOLS_SCM_PRETEND_VERSION="$VERSION" uv build --wheel --out-dir /wheels \
 && uv venv /opt/tap \
 && for wheel in /wheels/*.whl; do \
      uv pip install --python /opt/tap --constraint constraints.txt \
        "${wheel}[certificate,database]"; \
    done \
 && uv pip install --python /opt/tap 'dumb-init==1.2.5.post1'

FROM build AS project
RUN uv venv /opt/meltano \
 && uv pip install --python /opt/meltano 'meltano[postgres]==4.4.1'
WORKDIR /project
COPY meltano.yml orchestrate/dags/partnercenter_meltano.py ./
COPY transform ./transform
# Without a pip_url, Meltano uses the tap on the PATH. Meltano would create these folders when it
# starts, but the user below has no permission to. Meltano writes to run.
RUN sed -i '/pip_url: -e \./d' meltano.yml \
 && /opt/meltano/bin/meltano install target-postgres dbt-postgres \
 && rm -rf .meltano/meltano.db* .meltano/run \
 && mkdir -p .meltano/run .meltano/extractors/tap-partnercenter \
 && chmod 1777 .meltano/run

FROM python:3.13-slim-bookworm AS meltano
# By default, the database and dbt's output last only as long as the container.
ENV PATH=/opt/meltano/bin:/opt/tap/bin:$PATH MELTANO_PROJECT_ROOT=/project HOME=/tmp \
    MELTANO_DATABASE_URI=sqlite:////tmp/meltano.db \
    DBT_POSTGRES_TARGET_PATH=/tmp/dbt/target DBT_LOG_PATH=/tmp/dbt/logs
COPY --from=project /opt /opt
COPY --from=project /project /project
WORKDIR /project
USER 10001:10001
# As process 1, Meltano would ignore signals during startup and not reap its plugins' children.
ENTRYPOINT ["dumb-init", "--", "meltano"]

FROM python:3.13-slim-bookworm AS tap
COPY --from=build /opt/tap /opt/tap
USER 10001:10001
ENTRYPOINT ["/opt/tap/bin/dumb-init", "--", "/opt/tap/bin/tap-partnercenter"]
