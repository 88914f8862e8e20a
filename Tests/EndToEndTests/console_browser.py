"""Drives the console in a real browser: Debian's Chromium with a virtual security key, over the DevTools protocol.

    console_browser.py --console URL [--invitation TOKEN] [--screenshots FOLDER] [--chromium PATH]

Commands come as JSON lines on stdin, a JSON line of result goes out for each: {"ok": true, ...} or {"ok": false,
"error": ...}; `serve` lists them. What the browser reports about a page (an exception, an error on its
console, something that its policy blocked) makes the command fail, except for the refusals of the API, which the page
itself shows. One browser with one security key lives as long as the program; it ends by its process id.
"""

import argparse
import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

import websocket

WAIT = 20


class Failed(Exception):
    """The page did not do what was asked."""


# -- The browser ------------------------------------------------------------------------------------------------------


class Browser:
    """Chromium with one page and one security key."""

    def __init__(self, chromium="chromium"):
        self.profile = tempfile.TemporaryDirectory(prefix="console-browser-", ignore_cleanup_errors=True)
        self.process = subprocess.Popen(
            [chromium, "--headless=new", "--no-sandbox", "--ignore-certificate-errors", "--remote-debugging-port=0",
             "--user-data-dir=" + self.profile.name, "--no-first-run", "--no-proxy-server", "--disable-gpu",
             "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "about:blank"],
            # Crash reports and caches go to HOME, whatever the profile is.
            env={**os.environ, "HOME": self.profile.name}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True)
        self.session, self.last_id, self.answers, self.problems, self.visited = None, 0, {}, [], None
        try:
            endpoint = self._endpoint()
            # Chromium refuses a WebSocket that has an Origin.
            self.socket = websocket.create_connection(
                endpoint, suppress_origin=True, http_no_proxy=["*"], timeout=WAIT, skip_utf8_validation=True)
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Audits"):
                self.call(domain + ".enable")
            self.call("WebAuthn.enable")
            self.authenticator = self.call("WebAuthn.addVirtualAuthenticator", options={
                "protocol": "ctap2", "transport": "usb", "hasResidentKey": True, "hasUserVerification": True,
                "isUserVerified": True, "automaticPresenceSimulation": True})["authenticatorId"]
        except BaseException:
            self.quit()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.quit()

    def _endpoint(self):
        told = []
        for line in self.process.stderr:
            told.append(line)
            if line.startswith("DevTools listening on "):
                # Nobody reads the rest, and a full pipe would stop the browser.
                threading.Thread(target=self.process.stderr.read, daemon=True).start()
                return line.split()[-1]
        raise Failed("Chromium ended before it listened: " + "".join(told[-5:]))

    def call(self, method, **params):
        """The result of one method of the DevTools protocol."""
        self.last_id += 1
        message = {"id": self.last_id, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.socket.send(json.dumps(message))
        deadline = time.monotonic() + WAIT
        while self.last_id not in self.answers:
            if time.monotonic() > deadline:
                raise Failed("Chromium did not answer " + method)
            self._receive(WAIT)
        answer = self.answers.pop(self.last_id)
        if "error" in answer:
            raise Failed("%s: %s" % (method, answer["error"]["message"]))
        return answer["result"]

    def _receive(self, seconds):
        self.socket.settimeout(seconds)
        try:
            message = json.loads(self.socket.recv())
        except websocket.WebSocketTimeoutException:
            return
        if "id" in message:
            self.answers[message["id"]] = message
            return
        told, method = message.get("params", {}), message["method"]
        if method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "assert"):
            self.problems.append(" ".join(str(one.get("description", one.get("value"))) for one in told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("warning", "error"):
            entry = told["entry"]
            # A refusal is told on the page, or is the page. Chromium reports it as a resource that failed to load.
            url = entry.get("url", "")
            if not (entry["source"] == "network" and ("/v1/" in url or url == self.visited)):
                self.problems.append("%s: %s" % (entry["source"], entry["text"]))
        elif method == "Audits.issueAdded" and told["issue"]["code"] == "ContentSecurityPolicyIssue":
            self.problems.append("policy: " + json.dumps(told["issue"]["details"]["contentSecurityPolicyIssueDetails"]))

    def evaluate(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise Failed("%s: %s" % (expression, answer["exceptionDetails"]["exception"].get("description")))
        return answer["result"].get("value")

    def wait(self, condition, what):
        """Waits until an expression holds; a page that is being replaced holds nothing."""
        deadline = time.monotonic() + WAIT
        while True:
            try:
                if self.evaluate("Boolean(%s)" % condition):
                    return
            except Failed:
                pass
            if time.monotonic() > deadline:
                raise Failed("waited %d s for %s; the page says: %s" % (WAIT, what, self.evaluate("document.body.innerText")))
            self._receive(0.03)

    def visit(self, url):
        """Loads a page anew, also where only the fragment differs, and gives its HTTP status."""
        self.call("Page.navigate", url="about:blank")
        self.wait("location.href === 'about:blank'", "an empty page")
        self.visited = url
        error = self.call("Page.navigate", url=url).get("errorText")
        if error:
            raise Failed("%s: %s" % (url, error))
        self.wait("location.href !== 'about:blank' && document.readyState === 'complete'", url)
        return self.evaluate("performance.getEntriesByType('navigation')[0].responseStatus")

    def click(self, selector):
        """Presses an element with the mouse, as a person does: it has to be there, enabled, and covered by nothing."""
        where = self.evaluate("""(() => {
          const element = document.querySelector(%s);
          if (!element || element.disabled) return null;
          element.scrollIntoView({ block: 'center' });
          const { x, y, width, height } = element.getBoundingClientRect();
          const at = [x + width / 2, y + height / 2];
          return document.elementFromPoint(...at) === element ? at : null;
        })()""" % json.dumps(selector))
        if where is None:
            raise Failed("there is nothing to press at " + selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=where[0], y=where[1], button="left", clickCount=1)

    def press(self, selector):
        """Presses an element by keyboard: with the focus on it, Enter."""
        if not self.evaluate("((e) => { e?.focus(); return e && document.activeElement === e; })(document.querySelector(%s))"
                             % json.dumps(selector)):
            raise Failed("the focus cannot be set on " + selector)
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")

    def quit(self):
        try:
            self.session = None
            self.call("Browser.close")
            self.process.wait(WAIT)
        except Exception:
            self.process.kill()
            self.process.wait()
        self.profile.cleanup()


# -- The console ------------------------------------------------------------------------------------------------------

# The exact text that the page shows: its letters, and by value the characters that it shows by name.
SHOWN = """(function shown(node) {
  if (node.nodeType === Node.TEXT_NODE) return node.data;
  if (node.localName !== 'mark') return Array.from(node.childNodes, shown).join('');
  return String.fromCodePoint(parseInt(node.textContent.slice(2), 16));
})(document.querySelector('%s'))"""
TEXT = "document.querySelector('%s')?.textContent ?? null"
FAILURE = "document.querySelector('#failure')?.textContent"


class Console:
    """What a person does on the console."""

    def __init__(self, browser, url):
        self.browser, self.url = browser, url.rstrip("/").removesuffix("/console") + "/console"

    def _open(self, path=""):
        status = self.browser.visit(self.url + path)
        page = self.browser.evaluate("document.body.dataset.page")
        if page in ("problem", None) or status >= 400:
            raise Failed("%s answers %s: %s" % (path or "/", status, self.browser.evaluate("document.body.innerText")))
        return page

    def _ended(self, condition, what):
        """Waits for an ending, good or told as a failure."""
        self.browser.wait("%s || %s" % (FAILURE, condition), what)
        if failure := self.browser.evaluate(FAILURE):
            raise Failed(failure)

    def credentials(self):
        """The relying parties that the security key holds credentials of."""
        answer = self.browser.call("WebAuthn.getCredentials", authenticatorId=self.browser.authenticator)
        return sorted(one["rpId"] for one in answer["credentials"])

    def enrol(self, token):
        """Enrols this security key with an invitation."""
        self._open("/enrol#" + token)
        if "#" in self.browser.evaluate("location.href"):
            raise Failed("the invitation stays in the address bar")
        said = []
        for step in ("#step-approval[aria-current]", "#step-sign-in[aria-current]", "#enrolled:not([hidden])"):
            self.browser.click("#enrol button")
            self._ended("document.querySelector('%s')" % step, step)
            said.append(self.browser.evaluate(TEXT % "#progress"))
        done = self.browser.evaluate("document.querySelectorAll('.steps [data-done]').length")
        return {"said": said, "done": done, "credentials": self.credentials()}

    def sign_in(self):
        """Signs in with this security key."""
        if self._open() != "sign-in":
            raise Failed("there is a session already")
        self.browser.click("#sign-in")
        self._ended("document.body.dataset.page === 'pending' && document.readyState === 'complete'", "the payments")
        return {"person": self.browser.evaluate(TEXT % ".person")}

    def sign_out(self):
        """Ends the session."""
        self._open()
        self.browser.click("#sign-out")
        self._ended("document.body.dataset.page === 'sign-in' && document.readyState === 'complete'", "the sign-in page")
        return {}

    def list(self):
        """The payments that wait."""
        page = self._open()
        if page != "pending":
            raise Failed("nobody is signed in")
        return {"payments": self.browser.evaluate("""Array.from(document.querySelectorAll('.payments a'), (a) => ({
          payment: decodeURIComponent(new URL(a.href).pathname.split('/').pop()),
          headline: a.querySelector('.headline').textContent,
          facts: a.querySelector('.facts').textContent,
        }))""")}

    def open(self, payment):
        """The payment's page: its exact statement, and what can be done."""
        if self._open("/approvals/" + payment) != "approval":
            raise Failed("nobody is signed in")
        return {
            "statement": self.browser.evaluate(SHOWN % "#statement"),
            "state": self.browser.evaluate(TEXT % "#state"),
            "approvals": self.browser.evaluate(TEXT % "#approvals"),
            "digest": self.browser.evaluate(TEXT % "dd code"),
            "note": self.browser.evaluate(TEXT % "main > .note"),
            "can_decide": self.browser.evaluate("document.querySelectorAll('#decision button:enabled').length === 2"),
            "focus": self.browser.evaluate("document.activeElement.localName"),
        }

    def approve(self, payment, keyboard=False):
        """Approves with this security key."""
        return self._decide(payment, "approve", keyboard)

    def decline(self, payment, keyboard=False):
        """Declines with this security key."""
        return self._decide(payment, "decline", keyboard)

    def _decide(self, payment, decision, keyboard):
        page = self.open(payment)
        if not page["can_decide"]:
            raise Failed("this person cannot decide: %s" % (page["note"] or page["state"]))
        (self.browser.press if keyboard else self.browser.click)("#decision button[value=%s]" % decision)
        self._ended("!document.querySelector('#decision')", "the decision")
        return {
            "said": self.browser.evaluate(TEXT % "#progress"), "state": self.browser.evaluate(TEXT % "#state"),
            "approvals": self.browser.evaluate(TEXT % "#approvals"),
            "focus": self.browser.evaluate("document.activeElement.id"),
        }

    def screenshot(self, file, width, height, dark):
        """Draws the page as it stands, in full length; a page that is wider than its window is a failure."""
        self.browser.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.call("Emulation.setDeviceMetricsOverride", **size)
        content = self.browser.call("Page.getLayoutMetrics")["cssContentSize"]
        size["height"] = max(height, int(content["height"]))
        self.browser.call("Emulation.setDeviceMetricsOverride", **size)
        image = self.browser.call("Page.captureScreenshot", format="png")["data"]
        self.browser.call("Emulation.clearDeviceMetricsOverride")
        self.browser.call("Emulation.setEmulatedMedia", features=[])
        with open(file, "wb") as out:
            out.write(base64.b64decode(image))
        if content["width"] > width:
            raise Failed("the page is %d px wide in a window of %d px" % (content["width"], width))
        return {"file": file}


# -- The program ------------------------------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--console", required=True, help="URL of the console")
    parser.add_argument("--invitation", help="the token for an `enrol` that has none")
    parser.add_argument("--screenshots", default=".", help="the folder for screenshots")
    parser.add_argument("--chromium", default="chromium", help="the browser's program")
    arguments = parser.parse_args()
    # So that the browser ends too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.makedirs(arguments.screenshots, exist_ok=True)
    with Browser(arguments.chromium) as browser:
        serve(browser, arguments)


def serve(browser, arguments):
    """Carries out the commands on stdin until `quit` or the end."""
    console = Console(browser, arguments.console)
    commands = {
        "enrol": lambda ask: console.enrol(ask.get("token") or arguments.invitation),
        "sign_in": lambda ask: console.sign_in(),
        "sign_out": lambda ask: console.sign_out(),
        "pending": lambda ask: console.list(),
        "show": lambda ask: console.open(ask["payment"]),
        "approve": lambda ask: console.approve(ask["payment"], ask.get("keyboard", False)),
        "decline": lambda ask: console.decline(ask["payment"], ask.get("keyboard", False)),
        "open": lambda ask: {"status": browser.visit(arguments.console.rstrip("/").removesuffix("/console") + ask["path"])},
        "screenshot": lambda ask: console.screenshot(
            os.path.join(arguments.screenshots, ask["name"] + ".png"), ask.get("width", 1280), ask.get("height", 800),
            ask.get("dark", False)),
        "quit": lambda ask: {},
    }
    for line in sys.stdin:
        what = None
        try:
            ask = json.loads(line)
            what = ask["do"]
            answer = {"ok": True, **commands[what](ask)}
        except Failed as error:
            answer = {"ok": False, "error": str(error)}
        except (KeyError, TypeError, ValueError) as error:
            answer = {"ok": False, "error": "no such command: %s (%r)" % (line.strip(), error)}
        if browser.problems:
            answer = {**answer, "ok": False, "problems": browser.problems}
            browser.problems = []
        print(json.dumps(answer), flush=True)
        if what == "quit":
            break


if __name__ == "__main__":
    main()
