package project

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/secret"
	"github.com/cubebuild/cube/internal/wholefile"
)

// maxSecret bounds a secret's value.
const maxSecret = 64 << 10

// Secrets implements solve.Provider. They are read when an action is to run
// that is given them, and not before.
func (p *Project) Secrets(_ context.Context, inst *graph.Instance) ([]containers.Secret, error) {
	var out []containers.Secret
	for _, role := range slices.Sorted(maps.Keys(inst.Secrets)) {
		value, err := p.secret(inst.Secrets[role])
		if err != nil {
			return nil, err
		}
		out = append(out, containers.Secret{Target: graph.SecretDir + "/" + role, Value: value})
	}
	return out, nil
}

// secret returns the value of a secret, and has it hidden from then on.
func (p *Project) secret(name string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if value, ok := p.secrets[name]; ok {
		return value, nil
	}
	s := p.File.Secret(name)
	if s == nil {
		return nil, fmt.Errorf("there is no secret %s", name)
	}
	value, err := p.readSecret(s)
	where := []string{"secrets", name}
	if err != nil {
		return nil, p.File.Errorf(where, "", "secret %s: %v", name, err)
	}
	if len(strings.TrimSpace(string(value))) < secret.Least {
		return nil, p.File.Errorf(where, "", "secret %s has fewer than %d bytes, too few to be kept out of logs", name, secret.Least)
	}
	p.hidden.Add(value)
	p.secrets[name] = value
	return value, nil
}

func (p *Project) readSecret(s *config.Secret) ([]byte, error) {
	env := p.cfg.Env
	if env == nil {
		env = func(string) string { return "" }
	}
	if s.Env != "" {
		if value := env(s.Env); value != "" {
			return []byte(value), nil
		}
		return nil, fmt.Errorf("the variable %s of the environment is not set", s.Env)
	}
	path := s.File
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		path = filepath.Join(env("HOME"), rest)
	} else if !filepath.IsAbs(path) {
		path = p.path(path)
	}
	return wholefile.Read(path, maxSecret)
}

// secretText is a secret as a URI holds it.
func (p *Project) secretText(name string) (string, error) {
	value, err := p.secret(name)
	return strings.TrimSpace(string(value)), err
}

// progress tells from time to time how much of a source has been fetched.
func (p *Project) progress() func(uri string, size, total int64) {
	last := time.Now()
	return func(uri string, size, total int64) {
		if time.Since(last) < 2*time.Second {
			return
		}
		last = time.Now()
		of := ""
		if total > 0 {
			of = fmt.Sprintf(" of %d", total>>20)
		}
		p.step("%s: %d%s MiB", uri, size>>20, of)
	}
}
