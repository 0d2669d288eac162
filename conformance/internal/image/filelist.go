package image

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Programs of Fairway that have an image, and the user each runs as.
var Programs = map[string]string{
	"controller": nonroot,
	"waypoint":   nonroot,
	"ztunnel":    "0:0", // enters the network namespaces of pods
}

// Registry of Fairway's images.
const Registry = "ghcr.io/fairway-dev"

// Fairway is the image of one of our programs, from the list the Dockerfile reads too and the folder of built programs.
// Where the Dockerfile has a base image with the C library, this has the files the program is linked to here.
func Fairway(name, version, repository, bin string) (Image, error) {
	list := filepath.Join(repository, "images", name, "files")
	raw, err := os.ReadFile(list)
	if err != nil {
		return Image{}, err
	}
	files, err := ParseFileList(string(raw), repository, bin)
	if err != nil {
		return Image{}, fmt.Errorf("%s: %w", list, err)
	}
	entrypoint := "/usr/local/bin/fairway-" + name
	libraries, err := linkedLibraries(filepath.Join(bin, "fairway-"+name))
	if err != nil {
		return Image{}, err
	}
	return Image{
		Tags:       []string{fmt.Sprintf("%s/fairway-%s:%s", Registry, name, version)},
		Files:      append(files, libraries...),
		Entrypoint: []string{entrypoint},
		User:       Programs[name],
	}, nil
}

// ParseFileList reads lines of source, destination and mode. ${BIN} stands for the folder of built programs.
func ParseFileList(text, repository, bin string) ([]File, error) {
	var files []File
	lines := bufio.NewScanner(strings.NewReader(text))
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return nil, fmt.Errorf("line %d: not source, destination and mode: %q", number, line)
		}
		mode, err := strconv.ParseInt(fields[2], 8, 32)
		if err != nil {
			return nil, fmt.Errorf("line %d: mode %q is not octal", number, fields[2])
		}
		if !strings.HasPrefix(fields[1], "/") {
			return nil, fmt.Errorf("line %d: destination %q is not absolute", number, fields[1])
		}
		source, built := strings.CutPrefix(fields[0], "${BIN}/")
		if built {
			source = filepath.Join(bin, source)
		} else {
			source = filepath.Join(repository, source)
		}
		files = append(files, File{From: source, Path: fields[1], Mode: mode})
	}
	return files, lines.Err()
}

// A line of ldd: "libc.so.6 => /lib/libc.so.6 (0x…)" or "/lib64/ld-linux-x86-64.so.2 (0x…)".
var library = regexp.MustCompile(`(?m)^\s*(?:\S+ => )?(/\S+) \(0x`)

func linkedLibraries(program string) ([]File, error) {
	out, err := exec.Command("ldd", program).CombinedOutput()
	if strings.Contains(string(out), "not a dynamic executable") || strings.Contains(string(out), "statically linked") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ldd %s: %w: %s", program, err, out)
	}
	return parseLibraries(string(out)), nil
}

func parseLibraries(ldd string) []File {
	var files []File
	for _, match := range library.FindAllStringSubmatch(ldd, -1) {
		files = append(files, File{From: match[1], Path: match[1], Mode: 0o755})
	}
	return files
}
