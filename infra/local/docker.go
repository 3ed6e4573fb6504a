package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
)

// bridge returns the host name of this machine for containers of its Docker, and the
// address to listen on for them, which is this machine's address in Docker's default
// network. If that network is in Docker Desktop's virtual machine, containers reach the
// loopback address as host.docker.internal, and address is empty.
func bridge(ctx context.Context) (host, address string, err error) {
	subnets, err := exec.CommandContext(ctx, "docker", "network", "inspect", "bridge", "--format", "{{range .IPAM.Config}}{{.Subnet}} {{end}}").Output()
	if err != nil {
		return "", "", fmt.Errorf("asking Docker for its default network (is Docker running?): %w", err)
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return "", "", fmt.Errorf("listing the addresses of this machine: %w", err)
	}
	for _, subnet := range strings.Fields(string(subnets)) {
		_, network, err := net.ParseCIDR(subnet)
		if err != nil {
			return "", "", fmt.Errorf("reading the address of Docker's default network: %w", err)
		}
		for _, address := range own {
			if ip, ok := address.(*net.IPNet); ok && network.Contains(ip.IP) {
				return ip.IP.String(), ip.IP.String(), nil
			}
		}
	}
	return "host.docker.internal", "", nil
}

// at replaces the host of a URL or an address.
func at(host, address string) string {
	return strings.Replace(address, "127.0.0.1", host, 1)
}
