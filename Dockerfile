# postoffice and tester_server. Build: docker build -t postoffice .
FROM debian:12 AS build
WORKDIR /src
COPY scripts/install-deps scripts/install-deps
RUN scripts/install-deps build && rm -rf /var/lib/apt/lists/*
COPY . .
# No ccache: nothing of it would outlive the layer.
RUN cmake --preset release -DBUILD_TESTING=OFF -DCCACHE= \
    && cmake --build build/release \
    && cmake --install build/release --prefix /install --strip

FROM debian:12-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libcpp-httplib0.11 libpq5 librabbitmq4 \
        libsqlite3-0 libssl3 libsimdjson14 libspdlog1.10 libprometheus-cpp-core1.0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --shell /usr/sbin/nologin --home-dir /var/lib/postoffice --create-home postoffice
COPY --from=build /install/bin/ /usr/local/bin/
# Fails here, not at the user's, when a runtime library is missing.
RUN postoffice --help >/dev/null && tester_server --help >/dev/null
USER postoffice
WORKDIR /var/lib/postoffice
ENV DATA_DIR=/var/lib/postoffice SERVER_HOST=0.0.0.0
VOLUME /var/lib/postoffice
EXPOSE 9090
ENTRYPOINT ["postoffice"]
CMD ["serve"]
