// The public gRPC interop cases with grpc-go's own code for both sides.
//
//	grpc_go server ADDRESS [CERTIFICATE KEY]    serves until killed; TLS when a certificate is given
//	grpc_go client ADDRESS NAME|- CASE...       runs each case, one line each; NAME: TLS with that server name
//
// A case that fails ends the program with status 1 (that is how grpc-go's interop package reports).
package main

import (
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(args []string) {
	listener, err := net.Listen("tcp", args[0])
	fail(err)
	var options []grpc.ServerOption
	if len(args) == 3 {
		credential, err := credentials.NewServerTLSFromFile(args[1], args[2])
		fail(err)
		options = append(options, grpc.Creds(credential))
	}
	server := grpc.NewServer(options...)
	testgrpc.RegisterTestServiceServer(server, interop.NewTestServer())
	fmt.Println("ready")
	fail(server.Serve(listener))
}

func call(address, name string, cases []string) {
	credential := insecure.NewCredentials()
	if name != "-" {
		credential = credentials.NewClientTLSFromCert(nil, name)
	}
	connection, err := grpc.Dial(address, grpc.WithTransportCredentials(credential))
	fail(err)
	client := testgrpc.NewTestServiceClient(connection)
	all := map[string]func(){
		"empty_unary":                 func() { interop.DoEmptyUnaryCall(client) },
		"large_unary":                 func() { interop.DoLargeUnaryCall(client) },
		"large_unary_gzip":            func() { interop.DoLargeUnaryCall(client, grpc.UseCompressor(gzip.Name)) },
		"client_streaming":            func() { interop.DoClientStreaming(client) },
		"server_streaming":            func() { interop.DoServerStreaming(client) },
		"ping_pong":                   func() { interop.DoPingPong(client) },
		"empty_stream":                func() { interop.DoEmptyStream(client) },
		"timeout_on_sleeping_server":  func() { interop.DoTimeoutOnSleepingServer(client) },
		"cancel_after_begin":          func() { interop.DoCancelAfterBegin(client) },
		"cancel_after_first_response": func() { interop.DoCancelAfterFirstResponse(client) },
		"custom_metadata":             func() { interop.DoCustomMetadata(client) },
		"status_code_and_message":     func() { interop.DoStatusCodeAndMessage(client) },
		"special_status_message":      func() { interop.DoSpecialStatusMessage(client) },
		"unimplemented_method":        func() { interop.DoUnimplementedMethod(connection) },
		"unimplemented_service": func() {
			interop.DoUnimplementedService(testgrpc.NewUnimplementedServiceClient(connection))
		},
	}
	for _, one := range cases {
		run, known := all[one]
		if !known {
			fail(fmt.Errorf("no case %q", one))
		}
		run()
		fmt.Println(one, "ok")
	}
}

func main() {
	switch {
	case len(os.Args) >= 3 && os.Args[1] == "server":
		serve(os.Args[2:])
	case len(os.Args) >= 5 && os.Args[1] == "client":
		call(os.Args[2], os.Args[3], os.Args[4:])
	default:
		fail(fmt.Errorf("usage: grpc_go server ADDRESS [CERTIFICATE KEY] | grpc_go client ADDRESS NAME|- CASE..."))
	}
}
