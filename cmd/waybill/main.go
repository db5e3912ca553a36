// Command waybill is the server and its command line; see internal/cli.
package main

import (
	"os"

	"github.com/waybill-dev/waybill/internal/cli"
)

// version is set by the linker.
var version = "dev"

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv, version))
}
