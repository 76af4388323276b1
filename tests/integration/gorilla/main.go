// A client by github.com/gorilla/websocket, which sends what is longer than its write buffer (4 KiB) in fragments.
// gorilla URL COUNT SIZE: says COUNT messages of SIZE bytes and wants each back; prints how many came.
package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"github.com/gorilla/websocket"
)

func main() {
	count, _ := strconv.Atoi(os.Args[2])
	size, _ := strconv.Atoi(os.Args[3])
	connection, _, err := websocket.DefaultDialer.Dial(os.Args[1], nil)
	if err != nil {
		fmt.Println("dial:", err)
		os.Exit(1)
	}
	message := bytes.Repeat([]byte("x"), size)
	for number := 0; number < count; number++ {
		if err := connection.WriteMessage(websocket.TextMessage, message); err != nil {
			fmt.Println("write:", err)
			os.Exit(1)
		}
		_, back, err := connection.ReadMessage()
		if err != nil || !bytes.Equal(back, message) {
			fmt.Println("read", number, ":", err)
			os.Exit(1)
		}
	}
	fmt.Println(count)
}
