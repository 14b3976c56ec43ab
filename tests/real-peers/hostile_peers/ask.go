// Asks for each case, then for what follows it, and prints both outcomes as tests/compat/src/bin/hostile.rs does.
//
//	go run ask.go ORIGIN   (cases on the standard input)
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

func ask(client *http.Client, method, url string) string {
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		return "error request"
	}
	response, err := client.Do(request)
	if err != nil {
		return "error " + strings.NewReplacer("\t", " ", "\n", " ").Replace(err.Error())
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusSwitchingProtocols {
		// Its body is the connection, and has no timeout.
		return "ok 101 "
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "error body"
	}
	return fmt.Sprintf("ok %d %s", response.StatusCode, hex.EncodeToString(body))
}

func main() {
	origin := os.Args[1]
	lines := bufio.NewScanner(os.Stdin)
	room := make(chan struct{}, 16)
	var all sync.WaitGroup
	for lines.Scan() {
		number, method, _ := strings.Cut(lines.Text(), " ")
		all.Add(1)
		room <- struct{}{}
		go func() {
			defer all.Done()
			defer func() { <-room }()
			transport := &http.Transport{MaxConnsPerHost: 1}
			client := &http.Client{Transport: transport, Timeout: 1500 * time.Millisecond,
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			first := ask(client, method, origin+"/c/"+number)
			next := ask(client, "GET", origin+"/next/"+number)
			transport.CloseIdleConnections()
			fmt.Printf("%s\t%s\t%s\n", number, first, next)
		}()
	}
	all.Wait()
}
