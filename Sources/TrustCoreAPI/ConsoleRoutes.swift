import AgentIdentity
import CommandGate
import Payments
import WebConsole
import Wire

/// The pages for people. They show what the API tells; every decision goes through the API.
struct ConsoleRoutes<Store: UnitStore>: Sendable where Store.Unit: PaymentStore {
  let payments: PaymentRoutes<Store>
  let authenticator: Authenticator<Store>

  var routes: [Route] {
    [
      page("/console", "console", "The payments that wait for whoever is signed in, or the way to sign in.") {
        request in
        guard let person = try? await authenticator.session(request) else { return Console.signIn() }
        let views = try await payments.pending(for: person)
        return Console.pending(
          views.filter { $0.mine == nil }.map {
            Console.Pending(
              id: $0.payment.id, headline: $0.statement.headline, expires: $0.payment.expires ?? $0.payment.decidedAt,
              given: $0.given, needed: $0.needed)
          }, person: person.id)
      },
      page("/console/enrol", "consoleEnrol", "Where a person enrols credentials under an invitation.") { _ in
        Console.enrol()
      },
      page("/console/approvals/{payment}", "consoleApproval", "The exact statement, and the way to decide.") {
        request in
        guard let person = try? await authenticator.session(request) else { return Console.signIn() }
        let view = try await payments.view(request.parameters["payment"] ?? "", for: person)
        return Console.approval(
          Console.Approval(
            id: view.payment.id, statement: view.statement.text, digest: Base64.URL.encode(view.statement.digest),
            expires: view.payment.expires ?? view.payment.decidedAt, given: view.given, needed: view.needed,
            state: view.payment.state.rawValue, mine: view.mine, obstacle: view.obstacle))
      },
      page("/console/assets/console.css", "consoleStyle", "The pages' style sheet.", "text/css") { _ in Console.style },
      page("/console/assets/console.js", "consoleScript", "The pages' script.", "text/javascript") { _ in Console.script
      },
    ]
  }

  private func page(
    _ path: String, _ operation: String, _ summary: String, _ type: String = "text/html",
    _ render: @escaping @Sendable (APIRequest) async throws -> ConsolePage
  ) -> Route {
    Route("GET", path, operation, summary, access: .open, content: .page(type)) { request in
      let page: ConsolePage
      do { page = try await render(request) } catch let problem as Problem {
        page = Console.problem(problem.status, code: problem.code, detail: problem.detail, requestID: request.id)
      }
      return APIResponse(page.status, contentType: page.contentType, body: page.body, headers: page.headers)
    }
  }
}
