// Prints everything net/http shows of one answer: status, headers (Go sorts them), body, trailers.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	answer, err := http.Get(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(answer.Proto, answer.Status, answer.ContentLength, answer.TransferEncoding)
	answer.Header.Write(os.Stdout)
	os.Stdout.Write(body)
	fmt.Println()
	answer.Trailer.Write(os.Stdout)
}
