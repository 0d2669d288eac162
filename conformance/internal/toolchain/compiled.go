package toolchain

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
)

// packages reads what `go build -v` writes: the name of each package as its turn comes. Everything else is kept, for the
// message if the build fails.
type packages struct {
	mu      sync.Mutex
	count   int
	partial []byte
	other   []string
}

func (p *packages) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.partial = append(p.partial, text...)
	for {
		line, rest, whole := bytes.Cut(p.partial, []byte("\n"))
		if !whole {
			return len(text), nil
		}
		p.take(string(line))
		p.partial = rest
	}
}

// take one line. The name of a package has no blanks; an error begins with a place or a `#`.
func (p *packages) take(line string) {
	if line != "" && !strings.ContainsAny(line, " \t#:") {
		p.count++
		return
	}
	p.other = append(p.other, line)
}

func (p *packages) state() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf(", %d packages compiled", p.count)
}

// rest is what was written beside the names of packages.
func (p *packages) rest() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(append(p.other, string(p.partial)), "\n")
}
