// Shows openapi.json, and lets the emulator sign the calls of /v2 that are tried.
"use strict";

SwaggerUIBundle({
  url: "/emulator/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  docExpansion: "none",
  filter: true,
  tryItOutEnabled: true,
  validatorUrl: null, // it would call another host
  requestInterceptor: (request) => {
    const url = new URL(request.url, location.href);
    if (url.pathname.startsWith("/v2/")) {
      url.pathname = `/emulator/signed${url.pathname}`;
      request.url = url.href;
    }
    return request;
  },
});
