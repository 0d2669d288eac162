// Package image makes container images from local files, without a daemon and without a registry.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"sort"
	"strings"
)

// File is one file of an image.
type File struct {
	// Path in the image, absolute.
	Path string
	// From is the file on the host that it is a copy of; if empty, Content is used.
	From    string
	Content string
	Mode    int64
}

// Image is what goes into an image: one layer of files, and how to run them.
type Image struct {
	// Tags are all the names it has.
	Tags       []string
	Files      []File
	Entrypoint []string
	// User the program runs as, e.g. "65532:65532".
	User       string
	WorkingDir string
}

// Archive writes the image in the form that `docker save` has, which containerd, Docker, Podman and kind read. The same
// files give the same bytes.
func (i Image) Archive(w io.Writer) error {
	layer, err := i.layer()
	if err != nil {
		return fmt.Errorf("image %s: %w", i.Tags[0], err)
	}
	config, err := i.config(layer)
	if err != nil {
		return err
	}
	configName := fmt.Sprintf("%x.json", sha256.Sum256(config))
	manifest, err := json.Marshal([]map[string]any{{"Config": configName, "RepoTags": i.Tags, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	for _, part := range []struct {
		name string
		raw  []byte
	}{{"layer.tar", layer}, {configName, config}, {"manifest.json", manifest}} {
		if err := write(out, &tar.Header{Typeflag: tar.TypeReg, Name: part.name, Mode: 0o644}, part.raw); err != nil {
			return err
		}
	}
	return out.Close()
}

func (i Image) layer() ([]byte, error) {
	var buffer bytes.Buffer
	out := tar.NewWriter(&buffer)
	files := append([]File(nil), i.Files...)
	sort.Slice(files, func(a, b int) bool { return files[a].Path < files[b].Path })
	// Every image has a /tmp that anybody may write to.
	made := map[string]bool{".": true, "/": true, "tmp": true}
	if err := write(out, &tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, nil); err != nil {
		return nil, err
	}
	for _, file := range files {
		name := strings.TrimPrefix(path.Clean(file.Path), "/")
		if err := makeParents(out, made, path.Dir(name)); err != nil {
			return nil, err
		}
		content := []byte(file.Content)
		if file.From != "" {
			raw, err := os.ReadFile(file.From)
			if err != nil {
				return nil, err
			}
			content = raw
		}
		mode := file.Mode
		if mode == 0 {
			mode = 0o755
		}
		if err := write(out, &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode}, content); err != nil {
			return nil, err
		}
	}
	return buffer.Bytes(), out.Close()
}

func makeParents(out *tar.Writer, made map[string]bool, dir string) error {
	if made[dir] {
		return nil
	}
	made[dir] = true
	if err := makeParents(out, made, path.Dir(dir)); err != nil {
		return err
	}
	return write(out, &tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}, nil)
}

func (i Image) config(layer []byte) ([]byte, error) {
	run := map[string]any{"Entrypoint": i.Entrypoint, "Env": []string{"PATH=/usr/local/bin:/usr/bin:/bin"}}
	if i.User != "" {
		run["User"] = i.User
	}
	if i.WorkingDir != "" {
		run["WorkingDir"] = i.WorkingDir
	}
	return json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       run,
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
	})
}

func write(out *tar.Writer, header *tar.Header, content []byte) error {
	header.Size = int64(len(content))
	header.Format = tar.FormatPAX
	if err := out.WriteHeader(header); err != nil {
		return err
	}
	_, err := out.Write(content)
	return err
}
