package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func unpack(t *testing.T, raw []byte) map[string]*bytes.Buffer {
	t.Helper()
	files := map[string]*bytes.Buffer{}
	for in := tar.NewReader(bytes.NewReader(raw)); ; {
		header, err := in.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		files[fmt.Sprintf("%s %o", header.Name, header.Mode)] = &bytes.Buffer{}
		if _, err := io.Copy(files[fmt.Sprintf("%s %o", header.Name, header.Mode)], in); err != nil {
			t.Fatal(err)
		}
	}
}

func archive(t *testing.T, img Image) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := img.Archive(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAnArchiveIsWhatDockerSavesAndTheSameEachTime(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("ELF"), 0o700); err != nil {
		t.Fatal(err)
	}
	img := Image{
		Tags:       []string{"example.org/a:1", "example.org/a:2"},
		Files:      []File{{Path: "/usr/bin/program", From: program}, {Path: "/usr/share/doc/a/LICENSE", Content: "free", Mode: 0o644}},
		Entrypoint: []string{"/usr/bin/program"},
		User:       "65532:65532",
	}
	raw := archive(t, img)
	outer := unpack(t, raw)

	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(outer["manifest.json 644"].Bytes(), &manifest); err != nil {
		t.Fatal(err)
	}
	if len(manifest) != 1 || !reflect.DeepEqual(manifest[0].RepoTags, img.Tags) || !reflect.DeepEqual(manifest[0].Layers, []string{"layer.tar"}) {
		t.Fatalf("manifest: %+v", manifest)
	}
	layer := outer["layer.tar 644"].Bytes()
	var config struct {
		Config struct {
			Entrypoint []string
			User       string
		}
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	if err := json.Unmarshal(outer[manifest[0].Config+" 644"].Bytes(), &config); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("sha256:%x", sha256.Sum256(layer)); len(config.RootFS.DiffIDs) != 1 || config.RootFS.DiffIDs[0] != want {
		t.Errorf("layers %v, want %s", config.RootFS.DiffIDs, want)
	}
	if config.Config.User != img.User || !reflect.DeepEqual(config.Config.Entrypoint, img.Entrypoint) {
		t.Errorf("config: %+v", config.Config)
	}
	inner := unpack(t, layer)
	for _, name := range []string{"tmp/ 1777", "usr/ 755", "usr/bin/ 755", "usr/bin/program 755", "usr/share/doc/a/LICENSE 644"} {
		if inner[name] == nil {
			t.Errorf("%s is not in the layer: %v", name, inner)
		}
	}
	// Files in another order, written at another time: the same image.
	img.Files[0], img.Files[1] = img.Files[1], img.Files[0]
	if err := os.WriteFile(program, []byte("ELF"), 0o700); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(raw, archive(t, img)) {
		t.Error("the same files gave another archive")
	}
}

func TestAMissingFileIsNamed(t *testing.T) {
	err := Image{Tags: []string{"a:1"}, Files: []File{{Path: "/a", From: "/does/not/exist"}}}.Archive(io.Discard)
	if err == nil || !strings.Contains(err.Error(), "/does/not/exist") || !strings.Contains(err.Error(), "a:1") {
		t.Errorf("error: %v", err)
	}
}

func TestAFileListIsRead(t *testing.T) {
	files, err := ParseFileList("# comment\n\n${BIN}/fairway-x  /usr/local/bin/fairway-x  0755\nLICENSE /usr/share/doc/LICENSE 0644\n", "/repo", "/built")
	if err != nil {
		t.Fatal(err)
	}
	want := []File{
		{From: "/built/fairway-x", Path: "/usr/local/bin/fairway-x", Mode: 0o755},
		{From: "/repo/LICENSE", Path: "/usr/share/doc/LICENSE", Mode: 0o644},
	}
	if !reflect.DeepEqual(files, want) {
		t.Errorf("got %+v", files)
	}
	for line, complaint := range map[string]string{
		"a /b":         "line 1: not source, destination and mode",
		"a b 0644":     `destination "b" is not absolute`,
		"\n\na /b rwx": `line 3: mode "rwx" is not octal`,
	} {
		if _, err := ParseFileList(line, "/repo", "/built"); err == nil || !strings.Contains(err.Error(), complaint) {
			t.Errorf("%q: error %v, want %q", line, err, complaint)
		}
	}
}

func TestThePublishedFileListsAreReadable(t *testing.T) {
	for name := range Programs {
		raw, err := os.ReadFile(filepath.Join("..", "..", "..", "images", name, "files"))
		if err != nil {
			t.Fatal(err)
		}
		files, err := ParseFileList(string(raw), "/repo", "/built")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := File{From: "/built/fairway-" + name, Path: "/usr/local/bin/fairway-" + name, Mode: 0o755}
		if len(files) == 0 || files[0] != want {
			t.Errorf("%s begins with %+v, want %+v", name, files, want)
		}
	}
}

func TestLibrariesAreFoundInWhatLddSays(t *testing.T) {
	got := parseLibraries("\tlinux-vdso.so.1 (0x00007ffc)\n\tlibgcc_s.so.1 => /lib/x86_64-linux-gnu/libgcc_s.so.1 (0x00007f1)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f2)\n")
	want := []File{
		{From: "/lib/x86_64-linux-gnu/libgcc_s.so.1", Path: "/lib/x86_64-linux-gnu/libgcc_s.so.1", Mode: 0o755},
		{From: "/lib64/ld-linux-x86-64.so.2", Path: "/lib64/ld-linux-x86-64.so.2", Mode: 0o755},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}
