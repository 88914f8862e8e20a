public import Wire

/// The pages on which people enrol their keys, sign in, and decide about payments. They are pure functions of what they
/// show; the calls that they make are in `Assets/console.js`, and everything is decided by the server that answers them.
public enum Console {
  /// A payment that waits for the person.
  public struct Pending: Sendable {
    /// The payment's identifier.
    public let id: String
    /// Amount and payee, as in `USD 12,500.00 to Acme Supplies`.
    public let headline: String
    /// When the payment ends undecided.
    public let expires: Timestamp
    /// Approvals that were given.
    public let given: Int
    /// Approvals that are needed.
    public let needed: Int

    /// A payment that waits.
    public init(id: String, headline: String, expires: Timestamp, given: Int, needed: Int) {
      self.id = id
      self.headline = headline
      self.expires = expires
      self.given = given
      self.needed = needed
    }
  }

  /// A payment in full, for one person.
  public struct Approval: Sendable {
    /// The payment's identifier.
    public let id: String
    /// The exact text that an approval binds, lines ended by U+000A.
    public let statement: String
    /// The digest of ``statement`` as the record writes it.
    public let digest: String
    /// When the payment ends undecided.
    public let expires: Timestamp
    /// Approvals that were given.
    public let given: Int
    /// Approvals that are needed.
    public let needed: Int
    /// `held` while it can be decided, or how it ended.
    public let state: String
    /// `approve` or `decline` where this person has decided.
    public let mine: String?
    /// Why this person may not decide, as a sentence.
    public let obstacle: String?

    /// A payment to show.
    public init(
      id: String, statement: String, digest: String, expires: Timestamp, given: Int, needed: Int, state: String,
      mine: String? = nil, obstacle: String? = nil
    ) {
      self.id = id
      self.statement = statement
      self.digest = digest
      self.expires = expires
      self.given = given
      self.needed = needed
      self.state = state
      self.mine = mine
      self.obstacle = obstacle
    }
  }

  /// What `/console` shows to someone without a session.
  public static func signIn() -> ConsolePage {
    page(
      "sign-in", title: "Sign in",
      """
      <h1>Sign in</h1>
      <p>Use the security key that you enrolled. Signing in lets you read what waits for you; each decision asks for your
      key again.</p>
      <div class="actions"><button type="button" id="sign-in" class="primary" disabled>Sign in with your key</button></div>
      \(messages)
      """)
  }

  /// What `/console/enrol` shows. The invitation's token is in the URL's fragment, which no browser sends.
  public static func enrol() -> ConsolePage {
    page(
      "enrol", title: "Enrol your key",
      """
      <h1>Enrol your key</h1>
      <p>Have your security key at hand. It will hold two credentials, made one after the other:</p>
      <ol class="steps">
      <li id="step-approval"><strong>To approve.</strong> It signs your decisions about payments, and nothing else.</li>
      <li id="step-sign-in"><strong>To sign in.</strong> It opens this console, and can approve nothing.</li>
      </ol>
      <form id="enrol">
      <p class="field"><label for="invitation">Invitation</label>
      <input id="invitation" name="invitation" type="text" required maxlength="512" autocomplete="off" spellcheck="false" \
      autocapitalize="none" aria-describedby="invitation-hint"></p>
      <p class="hint" id="invitation-hint">The link that you were sent fills this in. It works once.</p>
      <div class="actions"><button type="submit" class="primary" disabled>Begin</button></div>
      </form>
      \(messages)
      <p id="enrolled" hidden><a href="/console">Go to the console and sign in</a></p>
      """)
  }

  /// What `/console` shows to someone with a session: the payments that wait, in the order given.
  public static func pending(_ items: [Pending], person: String) -> ConsolePage {
    let list: HTML =
      items.isEmpty
      ? "<p class=\"empty\">Nothing waits for you.</p>"
      : """
      <ul class="payments">
      \(HTML(joining: items.map { item in
        """
        <li><a href="/console/approvals/\(segment: item.id)"><span class="headline">\(item.headline)</span>
        <span class="facts">\(item.given) of \(item.needed) approvals · ends \(time(item.expires))</span></a></li>

        """
      }))</ul>
      """
    return page(
      "pending", title: "Waiting for you", signedIn: true,
      """
      <h1>Waiting for you</h1>
      <p class="person">Signed in as \(person)</p>
      \(list)
      \(messages)
      """)
  }

  /// What `/console/approvals/{payment}` shows: the exact statement, and the two buttons where the person may decide.
  public static func approval(_ view: Approval) -> ConsolePage {
    var title: HTML = "Payment"
    let decision: HTML
    if let mine = view.mine {
      decision = "<p class=\"note\" id=\"decided\">You have chosen to \(mine) this payment.</p>"
    } else if view.state != "held" {
      decision = "<p class=\"note\">This payment can no longer be decided.</p>"
    } else if let obstacle = view.obstacle ?? (view.statement.isEmpty ? "There is no statement to decide about." : nil)
    {
      decision = "<p class=\"note\" id=\"obstacle\">\(obstacle)</p>"
    } else {
      title = "Read, then decide"
      decision =
        """
        <div id="decision">
        <div class="actions"><button type="button" value="decline" disabled>Decline</button>
        <button type="button" value="approve" class="primary" disabled>Approve</button></div>
        <p class="hint">Either choice asks for your key, and is recorded for good.</p>
        </div>
        """
    }
    return page(
      "approval", title: "Payment", signedIn: true, payment: view.id,
      """
      <p class="back"><a href="/console">All payments</a></p>
      <h1>\(title)</h1>
      <section aria-labelledby="statement-title">
      <h2 id="statement-title">Statement</h2>
      <pre id="statement">\(lines(of: view.statement))</pre>
      </section>
      <dl>
      <div><dt>State</dt><dd id="state">\(view.state)</dd></div>
      <div><dt>Approvals</dt><dd id="approvals">\(view.given) of \(view.needed)</dd></div>
      <div><dt>Ends</dt><dd>\(time(view.expires))</dd></div>
      <div class="wide"><dt>Digest of the statement</dt><dd><code>\(view.digest)</code></dd></div>
      </dl>
      \(decision)
      \(messages)
      """)
  }

  /// A refusal, for a person.
  public static func problem(_ status: Int, code: String, detail: String, requestID: String) -> ConsolePage {
    let title = Problem(status, code, detail).title
    return page(
      "problem", status: status, title: "Not possible",
      """
      <h1>\(title)</h1>
      <p>\(detail)</p>
      <p class="hint">\(status) <code>\(code)</code> · request <code>\(requestID)</code></p>
      <p><a href="/console">Go to the console</a></p>
      """)
  }

  /// `/console/assets/console.js`.
  public static var script: ConsolePage {
    ConsolePage(asset: PackageResources.console_js, contentType: "text/javascript; charset=utf-8")
  }

  /// `/console/assets/console.css`.
  public static var style: ConsolePage {
    ConsolePage(asset: PackageResources.console_css, contentType: "text/css; charset=utf-8")
  }
}

// MARK: - Parts

extension Console {
  /// Where the script says what happens; they stand on the page from the start, or screen readers would not speak them.
  private static let messages: HTML = """
    <p id="progress" role="status" tabindex="-1"></p>
    <p id="failure" role="alert"></p>
    """

  /// Each line is an element of its own, so that a line which wraps is told from a line which ends.
  private static func lines(of statement: String) -> HTML {
    var lines = statement.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    let last = lines.removeLast()
    return HTML(
      joining: lines.map { "<span>\($0)\n</span>" } + (last.isEmpty ? [] : ["<span>\(last)</span>"]))
  }

  private static func time(_ moment: Timestamp) -> HTML {
    let text = moment.description
    let (day, rest) = (text.prefix { $0 != "T" }, text.drop { $0 != "T" }.dropFirst())
    return "<time datetime=\"\(attribute: text)\">\(day + " " + rest.prefix(5)) UTC</time>"
  }

  private static func page(
    _ name: HTML, status: Int = 200, title: HTML, signedIn: Bool = false, payment: String = "",
    _ content: HTML
  ) -> ConsolePage {
    let signOut: HTML =
      signedIn ? "<button type=\"button\" id=\"sign-out\" class=\"quiet\" disabled>Sign out</button>" : ""
    return ConsolePage(
      status: status,
      """
      <!DOCTYPE html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <title>\(title) · TrustCore</title>
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <meta name="color-scheme" content="light dark">
      <link rel="stylesheet" href="/console/assets/console.css">
      <script src="/console/assets/console.js" type="module"></script>
      </head>
      <body data-page="\(name)" data-payment="\(attribute: payment)">
      <header><p class="brand">TrustCore</p>\(signOut)</header>
      <main>
      \(content)
      <noscript><p class="note">To decide, sign in or enrol, allow JavaScript for this page and use a browser with \
      WebAuthn and a security key. Everything above can be read without.</p></noscript>
      </main>
      </body>
      </html>

      """)
  }
}
