// Runc, for machines whose root lacks CAP_SYS_RESOURCE: containers are asked to do without what only that gives.
//
// It stands in for runc: before `create`, `run`, `restore` and `exec` it takes the capability out of the description
// of the container, or of the process to start in it, keeps resource limits within this process's own, and lets no
// out-of-memory score fall below this process's own. Then it becomes the real runc, found in PATH.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const refused = "CAP_SYS_RESOURCE"

// The numbers of the limits, as in the kernel's asm-generic/resource.h.
var limits = map[string]int{
	"RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4, "RLIMIT_RSS": 5,
	"RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8, "RLIMIT_AS": 9, "RLIMIT_LOCKS": 10,
	"RLIMIT_SIGPENDING": 11, "RLIMIT_MSGQUEUE": 12, "RLIMIT_NICE": 13, "RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15,
}

type object = map[string]any

func main() {
	if err := prepare(os.Args[1:]); err != nil {
		fail(err)
	}
	runc, err := exec.LookPath("runc")
	if err != nil {
		fail(err)
	}
	fail(syscall.Exec(runc, append([]string{runc}, os.Args[1:]...), os.Environ()))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "runc without "+refused+":", err)
	os.Exit(127)
}

// prepare rewrites what the command is about to read; other commands are left alone.
func prepare(arguments []string) error {
	command := ""
	bundle, process := ".", ""
	for index, argument := range arguments {
		name, value, joined := strings.Cut(argument, "=")
		if !joined && index+1 < len(arguments) {
			value = arguments[index+1]
		}
		switch {
		case command == "" && slices.Contains([]string{"create", "run", "restore", "exec"}, argument):
			command = argument
		case command != "" && command != "exec" && (name == "--bundle" || name == "-b"):
			bundle = value
		case command == "exec" && (name == "--process" || name == "-p"):
			process = value
		}
	}
	switch {
	case command == "exec" && process != "":
		return rewrite(process, restrain)
	case command != "" && command != "exec":
		return rewrite(filepath.Join(bundle, "config.json"), func(container object) {
			if started, ok := container["process"].(object); ok {
				restrain(started)
			}
		})
	}
	return nil
}

func rewrite(path string, change func(object)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	var document object
	decoder := json.NewDecoder(file)
	decoder.UseNumber()
	if err := decoder.Decode(&document); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	change(document)
	written, err := json.Marshal(document)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", written, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func restrain(process object) {
	if sets, ok := process["capabilities"].(object); ok {
		for name, set := range sets {
			if listed, ok := set.([]any); ok {
				sets[name] = slices.DeleteFunc(listed, func(capability any) bool { return capability == refused })
			}
		}
	}
	if listed, ok := process["rlimits"].([]any); ok {
		for _, limit := range listed {
			if limit, ok := limit.(object); ok {
				keepWithinOurs(limit)
			}
		}
	}
	keepScoreAboveOurs(process)
}

func keepWithinOurs(limit object) {
	name, _ := limit["type"].(string)
	number, known := limits[name]
	var ours syscall.Rlimit
	if !known || syscall.Getrlimit(number, &ours) != nil {
		return
	}
	for _, end := range []string{"hard", "soft"} {
		asked, ok := limit[end].(json.Number)
		if value, err := strconv.ParseUint(asked.String(), 10, 64); ok && err == nil && value > ours.Max {
			limit[end] = ours.Max
		}
	}
}

func keepScoreAboveOurs(process object) {
	asked, ok := process["oomScoreAdj"].(json.Number)
	if !ok {
		return
	}
	text, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return
	}
	ours, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if value, malformed := asked.Int64(); err == nil && malformed == nil && int(value) < ours {
		process["oomScoreAdj"] = ours
	}
}
