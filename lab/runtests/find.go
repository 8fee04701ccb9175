package main

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// pkg is one package that has tests under the tag.
type pkg struct {
	path  string   // import path
	dir   string   // relative to the module's root
	tests []string // the names of the test functions that only the tag adds
}

// find returns the packages of the module in root that have test functions in files which
// the tags, separated by commas, add to the build, sorted by path. Of several tags it is the
// last one that adds them: the tests of the others alone are not among them.
func find(root, tags string) ([]pkg, error) {
	module, err := modulePath(filepath.Join(root, "go.mod"))
	if err != nil {
		return nil, err
	}
	tests := make(map[string][]string)
	err = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			hidden := file != root && strings.HasPrefix(d.Name(), ".")
			if hidden || d.Name() == "testdata" {
				return fs.SkipDir
			}
			return nil
		case !strings.HasSuffix(file, "_test.go"):
			return nil
		}
		names, err := guarded(file, tags)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		if len(names) > 0 {
			tests[dir] = append(tests[dir], names...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var pkgs []pkg
	for dir, names := range tests {
		slices.Sort(names)
		pkgs = append(pkgs, pkg{path: path.Join(module, dir), dir: dir, tests: names})
	}
	slices.SortFunc(pkgs, func(a, b pkg) int { return strings.Compare(a.path, b.path) })
	return pkgs, nil
}

// guarded returns the test functions of a file that is built with the tags and not without
// the last of them.
func guarded(file, tags string) ([]string, error) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	if !addedBy(f, strings.Split(tags, ",")) {
		return nil, nil
	}
	var names []string
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") && fn.Name.Name != "TestMain" {
			names = append(names, fn.Name.Name)
		}
	}
	return names, nil
}

func addedBy(f *ast.File, tags []string) bool {
	others := tags[:len(tags)-1]
	for _, group := range f.Comments {
		if group.Pos() > f.Package {
			return false
		}
		for _, c := range group.List {
			expr, err := constraint.Parse(c.Text)
			if err != nil {
				continue // an ordinary comment
			}
			with := expr.Eval(func(t string) bool { return t == "linux" || slices.Contains(tags, t) })
			without := expr.Eval(func(t string) bool { return t == "linux" || slices.Contains(others, t) })
			return with && !without
		}
	}
	return false
}

func modulePath(gomod string) (string, error) {
	f, err := os.Open(gomod)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, ok := strings.CutPrefix(s.Text(), "module "); ok {
			return strings.TrimSpace(name), nil
		}
	}
	return "", fmt.Errorf("%s: no module line", gomod)
}

// choose keeps the packages in dirs (all of them if dirs is empty), and of their tests
// those whose name contains match.
func choose(pkgs []pkg, dirs []string, match string) []pkg {
	var chosen []pkg
	for _, p := range pkgs {
		in := func(dir string) bool { return filepath.Clean(dir) == p.dir }
		if len(dirs) > 0 && !slices.ContainsFunc(dirs, in) {
			continue
		}
		p.tests = slices.DeleteFunc(slices.Clone(p.tests), func(name string) bool {
			return !strings.Contains(name, match)
		})
		if len(p.tests) > 0 {
			chosen = append(chosen, p)
		}
	}
	return chosen
}
