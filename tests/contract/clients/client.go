// Posts a signed body as the Go SDK does: net/http, which reads HTTPS_PROXY and SSL_CERT_FILE.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

func main() {
	request, err := http.NewRequest("POST", "https://sandbox.api.starkbank.com/v2/invoice", strings.NewReader(os.Getenv("BODY")))
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"Access-Id", "Access-Time", "Access-Signature"} {
		request.Header.Set(name, os.Getenv(strings.ToUpper(strings.ReplaceAll(name, "-", "_"))))
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	content, err := io.ReadAll(response.Body)
	if err != nil {
		panic(err)
	}
	fmt.Println(response.StatusCode)
	fmt.Println(string(content))
}
