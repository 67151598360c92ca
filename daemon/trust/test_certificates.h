// Two self-signed CA certificates for the tests of this folder; their keys were thrown away.
#pragma once

#include <string>

namespace tapdeck::trust {

// CN=tapdeck test CA
inline const std::string kOurPem = R"(-----BEGIN CERTIFICATE-----
MIIBizCCATGgAwIBAgIUYbbfO8AqNyusmsYS7gG5p7UaGJEwCgYIKoZIzj0EAwIw
GjEYMBYGA1UEAwwPdGFwZGVjayB0ZXN0IENBMCAXDTI2MTEyMjIxNTMxN1oYDzIx
MjYxMDI5MjE1MzE3WjAaMRgwFgYDVQQDDA90YXBkZWNrIHRlc3QgQ0EwWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAAQcO5UcjLAkb8DRIWfK9RZgSHlv2tmqVafTLyDX
YW/B7/MLNi8QfkPlhkC7HMANHGy5WG0BVkV7eiiBhbt3oJwYo1MwUTAdBgNVHQ4E
FgQUBobVfrH1ONZvtI5rOE3WByHyt7UwHwYDVR0jBBgwFoAUBobVfrH1ONZvtI5r
OE3WByHyt7UwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiAux8bK
Sliic7k2rwmJKLk6y++9w5xYMBQYTttrJq6GTQIhAIDNG+//LJV63TgkB3khNFlq
kTKQ34M4ZurixFw6aa4D
-----END CERTIFICATE-----
)";
// As `openssl x509 -hash` prints it for kOurPem.
inline constexpr const char* kOurHash = "4061fcf0";
// CN=other test CA
inline const std::string kOtherPem = R"(-----BEGIN CERTIFICATE-----
MIIBhzCCAS2gAwIBAgIUDCbbD7+Q6V4ysfkCh961AtAViWYwCgYIKoZIzj0EAwIw
GDEWMBQGA1UEAwwNb3RoZXIgdGVzdCBDQTAgFw0yNjExMjIyMTUzMTdaGA8yMTI2
MTAyOTIxNTMxN1owGDEWMBQGA1UEAwwNb3RoZXIgdGVzdCBDQTBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABC5H0PkpxcQERf/n3EUCfYSvNSSO2+avyeYT0rFte9s6
6jOSTf+uJ7CTJd8cIaG6Vf7NVuH8JnHp5AM81wLjFTSjUzBRMB0GA1UdDgQWBBRG
Jpng6wiGNuaO057sVj69jh0TqDAfBgNVHSMEGDAWgBRGJpng6wiGNuaO057sVj69
jh0TqDAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQCLlMRsUuS/
v/el72MEgVBaC7dwW6l5rkRPj5U1Kcz/bQIgFKjj3uTysle+QOx8fYyRdubXsLOB
wisHakiW15zY5OM=
-----END CERTIFICATE-----
)";

}  // namespace tapdeck::trust
