package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
)

// writeSBOM writes the list of what is in the programs of a target, as CycloneDX 1.6: the
// programs with their SHA-256, the Go modules in them, by the record in each program, and Go's
// standard library.
func (r *release) writeSBOM(file, bin string, t target) error {
	modules := make(map[string]cyclonedx.Component)
	var parts []cyclonedx.Component
	for _, p := range programs {
		name := filepath.Join(bin, p.name)
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		info, err := buildinfo.ReadFile(name)
		if err != nil {
			return err
		}
		parts = append(parts, cyclonedx.Component{
			BOMRef: "program:" + p.name, Type: cyclonedx.ComponentTypeApplication, Name: p.name, Version: r.version,
			Hashes: &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: fmt.Sprintf("%x", sha256.Sum256(data))}},
		})
		std := library("std", strings.TrimPrefix(info.GoVersion, "go"))
		modules[std.BOMRef] = std
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			c := library(m.Path, m.Version)
			c.Properties = &[]cyclonedx.Property{{Name: "go:sum", Value: m.Sum}}
			modules[c.BOMRef] = c
		}
	}
	refs := slices.Sorted(maps.Keys(modules))
	components := make([]cyclonedx.Component, len(refs))
	for i, ref := range refs {
		components[i] = modules[ref]
	}

	bom := cyclonedx.NewBOM()
	main := library("github.com/admitone/admitone", "v"+r.version)
	main.Type, main.Components = cyclonedx.ComponentTypeApplication, &parts
	main.Licenses = &cyclonedx.Licenses{{License: &cyclonedx.License{ID: "Apache-2.0"}}}
	main.Properties = &[]cyclonedx.Property{{Name: "go:os", Value: t.os}, {Name: "go:arch", Value: t.arch}}
	bom.Metadata = &cyclonedx.Metadata{Timestamp: r.time.UTC().Format(time.RFC3339), Component: &main}
	bom.Components = &components
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: main.BOMRef, Dependencies: &refs}}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := cyclonedx.NewBOMEncoder(f, cyclonedx.BOMFileFormatJSON).SetPretty(true).
		EncodeVersion(bom, cyclonedx.SpecVersion1_6); err != nil {
		return err
	}
	return f.Close()
}

// library describes a Go module.
func library(path, version string) cyclonedx.Component {
	purl := "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
	return cyclonedx.Component{
		BOMRef: purl, Type: cyclonedx.ComponentTypeLibrary, Name: path, Version: version, PackageURL: purl,
	}
}
