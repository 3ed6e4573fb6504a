//go:build browser

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/uuid"

	"containertriggers/shared/domain/auth"
)

// tab is the console in a real browser with an empty profile.
type tab struct {
	*testBundle
	ctx context.Context //nolint:containedctx // chromedp keeps the tab in it
	mu  sync.Mutex
	// faults are errors that the page caused, and what its security policy refused.
	faults []string
}

// openTab starts the browser that CHROMIUM names. At the end, the test fails if the page did
// anything wrong.
func openTab(b *testBundle) *tab {
	b.t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(os.Getenv("CHROMIUM")), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.WindowSize(1280, 900), chromedp.Env("TZ=America/New_York"))
	allocated, stopBrowser := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, closeTab := chromedp.NewContext(allocated)
	tb := &tab{testBundle: b, ctx: ctx}
	if err := chromedp.Do(ctx); err != nil { // starts the browser, which lives as long as ctx
		b.t.Fatal(err)
	}
	for _, enable := range []cdp.Command[cdp.Empty, cdp.Empty]{log.Enable, runtime.Enable} {
		if _, err := chromedp.Call(ctx, enable, cdp.Empty{}); err != nil {
			b.t.Fatal(err)
		}
	}
	var listeners sync.WaitGroup
	listen(tb, &listeners, runtime.ExceptionThrown, func(event runtime.EventExceptionThrown) string {
		return (&chromedp.ExceptionError{ExceptionDetails: event.ExceptionDetails}).Error()
	})
	listen(tb, &listeners, runtime.ConsoleAPICalled, func(event runtime.EventConsoleAPICalled) string {
		return fmt.Sprintf("console.%s: %s", event.Type, event.Args[0].Value)
	})
	listen(tb, &listeners, log.EntryAdded, func(event log.EventEntryAdded) string {
		// The browser logs each answer with an error, which tests cause on purpose.
		if event.Entry.Level != log.EntryLevelError || event.Entry.Source == log.EntrySourceNetwork {
			return ""
		}
		return fmt.Sprintf("%s: %s", event.Entry.Source, event.Entry.Text)
	})
	b.t.Cleanup(func() {
		closeTab()
		stopBrowser()
		listeners.Wait()
		for _, fault := range tb.faults {
			b.t.Errorf("the page: %s", fault)
		}
	})
	return tb
}

// listen keeps what fault says of the events of the page, until the tab is closed.
func listen[E any](tb *tab, listeners *sync.WaitGroup, event cdp.Event[E], fault func(E) string) {
	events := chromedp.Events(tb.ctx, event)
	listeners.Go(func() {
		for event, err := range events {
			if err != nil {
				return
			}
			if text := fault(event); text != "" {
				tb.mu.Lock()
				tb.faults = append(tb.faults, text)
				tb.mu.Unlock()
			}
		}
	})
}

// do does steps in the browser. It tells what the page shows if one fails.
func (tb *tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		tb.t.Fatalf("%s: %v; the page shows:\n%s", what, err, tb.shown())
	}
}

// shown returns what the page shows.
func (tb *tab) shown() string {
	text, err := chromedp.Run(tb.ctx, chromedp.Evaluate[string](`location.hash + "\n" + document.body.innerText`))
	return fmt.Sprint(text, err)
}

// open opens a view of the console by its address.
func (tb *tab) open(fragment string) {
	tb.t.Helper()
	tb.do("open "+fragment, chromedp.Navigate(tb.APIURL()+"/#"+fragment))
}

// js quotes a value for a script.
func js(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// read evaluates an expression in the page.
func (tb *tab) read(expression string) string {
	tb.t.Helper()
	text, err := chromedp.Run(tb.ctx, chromedp.Evaluate[string](`String(`+expression+`)`))
	if err != nil {
		tb.t.Fatalf("%s: %v; the page shows:\n%s", expression, err, tb.shown())
	}
	return text
}

// until waits for a condition in the page.
func (tb *tab) until(what, condition string) {
	tb.t.Helper()
	end := time.After(time.Minute)
	for tb.read(`Boolean(`+condition+`)`) != "true" {
		select {
		case <-end:
			tb.t.Fatalf("not within a minute: %s; the page shows:\n%s", what, tb.shown())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// see waits for the page to show a text.
func (tb *tab) see(text string) {
	tb.t.Helper()
	tb.until(fmt.Sprintf("see %q", text), `document.body.innerText.includes(`+js(text)+`)`)
}

// click clicks the button or link with a text, in the dialog if one is open.
func (tb *tab) click(text string) {
	tb.t.Helper()
	find := `[...(document.querySelector("dialog") ?? document).querySelectorAll("button, a")].find((e) => e.textContent.trim() === ` + js(text) + ` && e.offsetParent && !e.disabled)`
	tb.until("a button "+text, `!document.querySelector("main[aria-busy]") && `+find)
	tb.read(find + `.id ||= "to-click"`)
	tb.do("click "+text, chromedp.Click(chromedp.ID(tb.read(`(`+find+`)?.id ?? "to-click"`))))
	tb.read(`document.getElementById("to-click")?.removeAttribute("id")`)
}

// fill types a value into the input with a label, in place of what it has.
func (tb *tab) fill(label, value string) {
	tb.t.Helper()
	find := `([...document.querySelectorAll("label")].filter((l) => l.offsetParent && l.textContent.trim() === ` + js(label) + `).at(-1)?.control?.id ?? "")`
	tb.until("a field "+label, `!document.querySelector("main[aria-busy]") && `+find)
	id := tb.read(find)
	if element := `document.getElementById(` + js(id) + `)`; tb.read(element+`.tagName`) == "SELECT" {
		tb.read(`(() => { const e = ` + element + `; e.value = [...e.options].find((o) => o.text === ` + js(value) + `).value; e.dispatchEvent(new Event("change")); })()`)
		return
	}
	tb.read(`document.getElementById(` + js(id) + `).select()`)
	tb.do("fill "+label, chromedp.KeyEvent(kb.Backspace), chromedp.SendKeys(chromedp.ID(id), value))
}

// check checks the first box whose name for screen readers begins so.
func (tb *tab) check(prefix string) {
	tb.t.Helper()
	find := `document.querySelector("input[type=checkbox][aria-label^='` + prefix + `']")`
	tb.until("a box "+prefix, find)
	tb.read(find + `.click()`)
}

// resize sets the size of the page and the scheme of its colours.
func (tb *tab) resize(width, height int64, scheme string) {
	tb.t.Helper()
	if _, err := chromedp.Call(tb.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
		tb.t.Fatal(err)
	}
	if _, err := chromedp.Call(tb.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1}); err != nil {
		tb.t.Fatal(err)
	}
}

// point moves the pointer.
func (tb *tab) point(x, y string) {
	tb.t.Helper()
	at := input.DispatchMouseEventParams{Type: input.DispatchMouseEventTypeMouseMoved}
	if _, err := fmt.Sscan(x+" "+y, &at.X, &at.Y); err != nil {
		tb.t.Fatal(err)
	}
	if _, err := chromedp.Call(tb.ctx, input.DispatchMouseEvent, at); err != nil {
		tb.t.Fatal(err)
	}
}

// picture writes what the page looks like into .build.
func (tb *tab) picture(name string) {
	tb.t.Helper()
	picture, err := chromedp.Run(tb.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		tb.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("../../.build", name+".png"), picture, 0o644); err != nil {
		tb.t.Fatal(err)
	}
}

func TestConsole_CreatesRunsPausesReplaysAndDeletes(t *testing.T) {
	b := setup(t)
	tb := openTab(b)
	tb.open("key=" + b.secretKey)
	tb.see("There is no trigger yet.")
	if got := tb.read("location.href + document.cookie"); strings.Contains(got, b.secretKey) {
		t.Error("the address or a cookie has the key")
	}

	tb.click("Create a trigger")
	tb.fill("Name", "report")
	tb.fill("Schedule", "61 8 * * *")
	tb.fill("Time zone", "Europe/Paris")
	tb.see("invalid argument(s)")
	tb.click("Create")
	tb.until("the fault at its field", `document.querySelector("[name='cron_config.schedule']").getAttribute("aria-invalid") === "true" && document.activeElement.name === "cron_config.schedule"`)
	tb.fill("Schedule", "0 8 * * MON-FRI")
	tb.see("at 08:00 on Monday through Friday, Europe/Paris")
	tb.until("five next runs", `document.querySelectorAll(".preview li").length === 5`)
	tb.click("Create")
	tb.until("the trigger", `location.hash.match(/^#\/triggers\/[0-9a-f-]{36}$/)`)
	id := strings.TrimPrefix(tb.read("location.hash"), "#/triggers/")
	tb.until("ready", `document.querySelector(".badge")?.textContent === "ready"`)
	tb.until("ten next runs", `document.querySelectorAll(".next li").length === 10`)
	tb.see("for you")

	tb.click("Run now")
	tb.fill("Body", "by hand")
	tb.fill("Headers", "X-Asked: console")
	tb.click("Run now")
	tb.see("Attempt 1 by hand")
	if got := b.nextCall(); got.body != "by hand" || got.header.Get("X-Asked") != "console" {
		t.Errorf("the container got %+v", got)
	}
	tb.click("Show the run")
	tb.see("Attempts")
	tb.see("succeeded")
	tb.read("history.back()")
	tb.see("Next runs")
	tb.until("the bar of runs", `document.querySelectorAll("svg.bars rect.succeeded").length === 1`)

	tb.click("Pause")
	tb.fill("Reason", "maintenance")
	tb.click("Pause")
	tb.see("maintenance")
	tb.see("There is none while the trigger is paused.")
	tb.click("Resume")
	tb.fill("What the pause left out", "run the last one now")
	tb.click("Resume")
	tb.until("ready again", `document.querySelectorAll(".next li").length === 10`)

	b.setAnswer(http.StatusServiceUnavailable)
	for range 2 {
		tb.click("Run now")
		tb.click("Run now")
		tb.see("the container answered 503")
		tb.click("Close")
		tb.until("closed", `!document.querySelector("dialog")`)
		b.nextCall()
	}
	tb.click("Failed runs")
	tb.until("two failed runs", `document.querySelectorAll("tbody tr").length === 2`)
	tb.see("report")
	b.setAnswer(http.StatusOK)
	tb.check("Select the run of")
	tb.click("Replay")
	tb.see("Replayed 1 of 1.")
	tb.until("one failed run", `document.querySelectorAll("tbody tr").length === 1`)
	b.nextCall()
	tb.check("Select all")
	tb.click("Delete")
	tb.see("Delete 1 run")
	tb.click("Delete")
	tb.see("No run has failed.")

	tb.open("/triggers/" + id + "/edit")
	tb.see("Edit report")
	tb.fill("Schedule", "30 9 * * *")
	tb.click("Save")
	tb.see("at 09:30")
	tb.click("Copy as …")
	tb.see("scaleway_container_trigger")
	tb.see("cron-config.schedule='30 9 * * *'")
	if got := tb.read("document.body.innerText"); strings.Contains(got, b.secretKey) {
		t.Error("the page shows the key")
	}
	command := exec.CommandContext(t.Context(), "sh", "-c", tb.read(`document.querySelector("dialog pre").textContent`))
	command.Env = append(os.Environ(), "SCW_SECRET_KEY="+b.secretKey)
	var copied struct {
		ID         string
		CronConfig struct{ Schedule string } `json:"cron_config"`
	}
	if output, err := command.Output(); err != nil || json.Unmarshal(output, &copied) != nil || copied.CronConfig.Schedule != "30 9 * * *" {
		t.Errorf("the copy for curl: got %s, %v", output, err)
	}
	b.delete(copied.ID)
	tb.click("Close")
	tb.until("closed", `!document.querySelector("dialog")`)
	tb.click("Delete")
	tb.see("The trigger report makes no more calls.")
	tb.click("Delete")
	tb.see("There is no trigger yet.")
}

func TestConsole_ShowsMarkupAsText(t *testing.T) {
	b := setup(t)
	const markup = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, markup) // to the caller
	}))
	t.Cleanup(server.Close)
	tb := openTab(b)
	tb.open("key=" + b.secretKey)
	tb.see("There is no trigger yet.")
	tb.click("Containers")
	tb.click("Register a container")
	tb.click("Register")
	tb.until("the fault at its field", `document.querySelector("[name=name]").getAttribute("aria-invalid") === "true"`)
	tb.fill("Name", markup)
	tb.fill("Endpoint", server.URL)
	tb.click("Register")
	tb.until("the container", `[...document.querySelectorAll("tbody th a")].some((a) => a.textContent === `+js(markup)+`)`)
	tb.click("Triggers")
	tb.click("Create a trigger")
	tb.fill("Name", markup)
	tb.fill("Description", markup)
	tb.fill("Container", markup)
	tb.fill("Body", markup)
	tb.click("Create")
	tb.until("ready", `document.querySelector(".badge")?.textContent === "ready"`)
	tb.click("Run now")
	tb.click("Run now")
	tb.see("the container answered 418")
	tb.click("Show the run")
	tb.see("Attempts")
	tb.until("the answer", `[...document.querySelectorAll("pre")].some((pre) => pre.textContent.includes(`+js(markup)+`))`)
	tb.open("/triggers")
	tb.until("the name", `document.querySelector("tbody th a")?.textContent === `+js(markup))
	if got := tb.read(`document.querySelectorAll("main img, main script").length + document.title`); got != "0Triggers · Container Triggers" {
		t.Errorf("got %s", got)
	}
}

func TestConsole_ShowsAKeyOnlyWhatItMayRead(t *testing.T) {
	b := setup(t)
	created := b.createCron("theirs", "@yearly", "UTC")
	other, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	stranger := setupIn(t, other)
	tb := openTab(stranger)
	tb.open("")
	tb.see("Secret key")
	tb.fill("Secret key", "no-key")
	tb.click("Sign in")
	tb.see("The key is unknown or has expired.")
	expired := stranger.newKey(auth.Principal{OrganizationID: stranger.organization, DefaultProjectID: stranger.organization, PermissionSet: auth.FullAccess}, time.Now().Add(-time.Minute))
	tb.fill("Secret key", expired)
	tb.click("Sign in")
	tb.see("The key is unknown or has expired.")
	tb.fill("Secret key", stranger.secretKey)
	tb.click("Sign in")
	tb.see("There is no trigger yet.")
	tb.open("/triggers/" + created.ID)
	tb.see("It does not exist, or the key may not read it.")
	readOnly := stranger.newKey(auth.Principal{OrganizationID: b.organization, DefaultProjectID: b.organization, PermissionSet: auth.ReadOnly}, time.Time{})
	tb.click("Sign out")
	tb.see("Secret key")
	if got := tb.read("sessionStorage.getItem('secret-key')"); got != "null" {
		t.Errorf("after signing out, the page keeps %s", got)
	}
	tb.fill("Secret key", readOnly)
	tb.click("Sign in")
	tb.see("theirs")
	tb.click("Run now")
	tb.click("Run now")
	tb.see("insufficient permissions")
}

func TestConsole_CreatesATriggerOfEachSource(t *testing.T) {
	b := setup(t)
	tb := openTab(b)
	tb.open("key=" + b.secretKey)
	tb.see("There is no trigger yet.")
	tb.open("/triggers/new")
	tb.fill("Name", "sensors ${it's}")
	tb.fill("Source", "subject")
	tb.fill("Servers", b.NATSURL())
	tb.fill("Subject", "sensors.>")
	tb.fill("Keep runs", "all")
	tb.click("Create")
	tb.until("ready", `document.querySelector(".badge")?.textContent === "ready"`)
	tb.see("sensors.>")
	tb.click("Copy as …")
	for _, part := range []string{`name='sensors ${it'\''s}'`, `nats-config.server-urls.0='` + b.NATSURL() + `'`, `name = "sensors $${it's}"`, `server_urls = ["` + b.NATSURL() + `"]`} {
		tb.see(part)
	}
	queue, err := sqs.NewFromConfig(b.AWSConfig()).CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String(uuid.NewString())})
	if err != nil {
		t.Fatal(err)
	}
	tb.open("/triggers/new")
	tb.fill("Name", "orders")
	tb.fill("Source", "queue")
	tb.fill("Queue URL", *queue.QueueUrl)
	tb.fill("Endpoint", "no URL")
	tb.fill("Access key ID", "local")
	tb.fill("Secret access key", "local")
	tb.click("Create")
	tb.until("the fault at its field", `document.querySelector("[name='sqs_config.endpoint']").getAttribute("aria-invalid") === "true"`)
	tb.fill("Endpoint", b.AWSEndpoint())
	tb.click("Create")
	tb.until("ready", `document.querySelector(".badge")?.textContent === "ready"`)
	tb.see(*queue.QueueUrl)
	tb.click("Copy as …")
	tb.see(`secret_key = "…"`)
}

func TestConsole_StaysUsableWhileThingsChange(t *testing.T) {
	b := setup(t)
	b.createCron("first", "@yearly", "UTC")
	tb := openTab(b)
	tb.open("key=" + b.secretKey)
	tb.see("first")
	rows := `[...document.querySelectorAll("tbody th a")].map((a) => a.textContent).join()`
	refreshed := func() {
		t.Helper()
		tb.read(`performance.clearResourceTimings()`)
		tb.until("two refreshes", `performance.getEntriesByType("resource").filter((e) => e.name.includes("/triggers?")).length > 2`)
	}
	// The pointer is on the table: nothing moves under it.
	x, y := tb.read(`Math.round(document.querySelector("tbody th").getBoundingClientRect().x + 5)`), tb.read(`Math.round(document.querySelector("tbody th").getBoundingClientRect().y + 5)`)
	tb.point(x, y)
	b.createCron("second", "@yearly", "UTC")
	refreshed()
	if got := tb.read(rows); got != "first" {
		t.Errorf("under the pointer, the table shows %s", got)
	}
	tb.point("1", "1")
	tb.until("the new row", rows+` === "second,first"`)
	tb.fill("Search", "sec")
	tb.until("what matches", rows+` === "second"`)

	block := func(patterns ...*network.BlockPattern) {
		t.Helper()
		if _, err := chromedp.Call(tb.ctx, network.SetBlockedURLs, network.SetBlockedURLsParams{URLPatterns: patterns}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := chromedp.Call(tb.ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	tb.check("Select all")
	tb.click("Pause")
	tb.see("Pause 1 trigger")
	tb.click("Pause")
	tb.see("Paused 1 of 1.")
	tb.until("the paused trigger", `document.querySelector("tbody .badge").textContent === "paused"`)

	block(&network.BlockPattern{URLPattern: "*://*:*/containers/*", Block: true})
	tb.see("The API does not answer.")
	if got := tb.read(rows); got != "second" {
		t.Errorf("while the API is away, the table shows %s", got)
	}
	tb.click("Containers")
	tb.see("The page tries again.")
	block()
	tb.see("Endpoint")
	tb.until("the API is back", `document.getElementById("away").hidden`)
	tb.read(`sessionStorage.setItem("secret-key", "revoked")`)
	tb.see("The key is unknown or has expired.")
}

// A screenshot of each is in .build: look at them.
func TestConsole_FitsNarrowAndWideScreensLightAndDark(t *testing.T) {
	b := setup(t)
	b.do(http.MethodPatch, regional+"/containers/"+b.containerID, `{"name":"shop"}`, nil)
	for i, schedule := range []string{"0 8 * * MON-FRI", "*/15 * * * *", "30 2 * * 0", "@monthly"} {
		created := b.createCron([]string{"daily report", "sync stock", "clean up", "invoices"}[i], schedule, "Europe/Paris")
		b.wait(created.ID)
		b.setAnswer([]int{200, 503, 200, 200}[i])
		for range 3 {
			b.do(http.MethodPost, regional+"/triggers/"+created.ID+"/run", `{}`, nil)
		}
		if i == 2 {
			b.do(http.MethodPost, regional+"/triggers/"+created.ID+"/pause", `{"reason":"the stock is counted"}`, nil)
		}
	}
	tb := openTab(b)
	tb.open("key=" + b.secretKey)
	tb.see("at 08:00 on Monday through Friday, Europe/Paris")
	tb.until("the last runs", `document.querySelectorAll("tbody .succeeded, tbody .failed").length === 4`)
	for _, scheme := range []string{"light", "dark"} {
		tb.resize(1100, 560, scheme)
		tb.picture("console-" + scheme)
	}
	first := strings.TrimPrefix(tb.read(`document.querySelector("tbody th a").hash`), "#")
	for _, view := range []string{"/triggers", first, first + "/edit", "/triggers/new", "/failed", "/containers", "/containers/new"} {
		tb.open(view)
		tb.until("the view "+view, `document.querySelector("main h1") && !document.querySelector("main[aria-busy]") && location.hash === `+js("#"+view))
		for _, width := range []int64{360, 1280} {
			tb.resize(width, 800, "light")
			if got := tb.read(`document.documentElement.scrollWidth`); got != fmt.Sprint(width) {
				t.Errorf("%s is %s pixels wide on a screen of %d", view, got, width)
			}
		}
		if got := tb.read(`[...document.querySelectorAll("input, select, textarea, button, a")].filter((e) => e.offsetParent && !e.textContent.trim() && !e.labels?.length && !e.ariaLabel).map((e) => e.outerHTML).join()`); got != "" {
			t.Errorf("%s: screen readers have no name for %s", view, got)
		}
	}
	tb.open(first)
	tb.see("Next runs")
	tb.resize(1100, 900, "light")
	tb.picture("console-trigger")
}
