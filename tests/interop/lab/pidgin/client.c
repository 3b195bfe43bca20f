/* Pidgin without its windows: libpurple with Debian's pidgin-sipe, or with its own SIMPLE, told what to do by lines on
 * its standard input.
 *
 * A line is a verb and its arguments, an event is a word and its particulars; both are separated by tabs, with \\, \t,
 * \n and \r written as two characters. libpurple's debug log goes to standard error. See agents/sipe_user.py.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <glib.h>
#include <libxml/parser.h>
#include <purple.h>

#define UI "stoxlab"
#define GROUP "Other Contacts"

static FILE *events;
static GMainLoop *loop;
static PurpleAccount *account;

/* libxml2 of Debian 12 calls no SAX1 element callbacks while the handler carries the SAX2 mark; pidgin-sipe passes
 * such a handler and would see every document as empty. This definition goes before the library's. */
int xmlSAXUserParseMemory(xmlSAXHandlerPtr sax, void *data, const char *buffer, int size)
{
	int (*parse)(xmlSAXHandlerPtr, void *, const char *, int) = dlsym(RTLD_NEXT, "xmlSAXUserParseMemory");
	xmlSAXHandler copy = *sax;

	if (copy.startElementNs == NULL)
		copy.initialized = 1;
	return parse(&copy, data, buffer, size);
}

/* Events. */

static void put(const char *text)
{
	for (; *text; text++)
		switch (*text) {
		case '\\': fputs("\\\\", events); break;
		case '\t': fputs("\\t", events); break;
		case '\n': fputs("\\n", events); break;
		case '\r': fputs("\\r", events); break;
		default: fputc(*text, events);
		}
}

static void tell(const char *word, ...)
{
	va_list arguments;
	const char *text;

	put(word);
	va_start(arguments, word);
	while ((text = va_arg(arguments, const char *)) != NULL) {
		fputc('\t', events);
		put(text);
	}
	va_end(arguments);
	fputc('\n', events);
	fflush(events);
}

static const char *or_empty(const char *text)
{
	return text ? text : "";
}

static void tell_presence(PurpleBuddy *buddy)
{
	PurpleStatus *status = purple_presence_get_active_status(purple_buddy_get_presence(buddy));

	tell("presence", purple_buddy_get_name(buddy), purple_status_get_id(status),
	     or_empty(purple_status_get_attr_string(status, "message")), or_empty(purple_buddy_get_alias(buddy)), NULL);
}

static void on_buddy(PurpleBuddy *buddy)
{
	tell_presence(buddy);
}

static void on_status(PurpleBuddy *buddy, PurpleStatus *before, PurpleStatus *now)
{
	(void)before;
	(void)now;
	tell_presence(buddy);
}

static void on_message(PurpleAccount *from, char *sender, char *html, PurpleConversation *conversation, int flags)
{
	(void)from;
	(void)conversation;
	(void)flags;
	tell("message", sender, html, NULL);
}

static void on_written(PurpleAccount *from, const char *who, char *html, PurpleConversation *conversation, int flags)
{
	(void)from;
	(void)who;
	if (flags & (PURPLE_MESSAGE_SYSTEM | PURPLE_MESSAGE_ERROR))
		tell("note", purple_conversation_get_name(conversation), html, NULL);
}

static void on_typing(PurpleAccount *from, const char *name)
{
	(void)from;
	tell("typing", name, NULL);
}

static void on_typing_stopped(PurpleAccount *from, const char *name)
{
	(void)from;
	tell("typing-stopped", name, NULL);
}

static void on_signed_on(PurpleConnection *connection)
{
	(void)connection;
	tell("signed-on", NULL);
}

static void on_signed_off(PurpleConnection *connection)
{
	(void)connection;
	tell("signed-off", NULL);
}

static void on_disconnect(PurpleConnection *connection, PurpleConnectionError reason, const char *text)
{
	(void)connection;
	(void)reason;
	tell("disconnected", or_empty(text), NULL);
}

static void *on_notice(PurpleNotifyMsgType type, const char *title, const char *primary, const char *secondary)
{
	(void)type;
	(void)title;
	tell("notice", or_empty(primary), or_empty(secondary), NULL);
	return NULL;
}

/* Somebody has added us: LCS 2005 asks whether we allow it, OCS only offers to add them too. */

struct request {
	PurpleAccountRequestAuthorizationCb authorize, deny;
	void *data;
};

static GHashTable *requests;

static void on_request_add(PurpleAccount *to, const char *who, const char *id, const char *alias, const char *message)
{
	(void)to;
	(void)id;
	(void)message;
	tell("request", who, or_empty(alias), NULL);
}

static void *on_request_authorize(PurpleAccount *to, const char *who, const char *id, const char *alias,
                                  const char *message, gboolean on_list, PurpleAccountRequestAuthorizationCb authorize,
                                  PurpleAccountRequestAuthorizationCb deny, void *data)
{
	struct request *request = g_new0(struct request, 1);

	(void)to;
	(void)id;
	(void)message;
	(void)on_list;
	request->authorize = authorize;
	request->deny = deny;
	request->data = data;
	g_hash_table_replace(requests, g_strdup(who), request);
	tell("request", who, or_empty(alias), NULL);
	return request;
}

static void on_request_closed(void *handle)
{
	(void)handle;
}

/* Verbs. Each gets its arguments; `count` is how many there are. */

static void do_login(char **arguments)
{
	/* pidgin-sipe makes its Call-IDs and tags from rand(), seeded by the second: two clients would make the same. */
	srand((unsigned)(time(NULL) ^ (getpid() << 12)));
	purple_account_set_string(account, "server", arguments[0]); /* SIMPLE goes by the domain's records instead */
	if (purple_account_get_enabled(account, UI))
		purple_account_connect(account);
	else
		purple_account_set_enabled(account, UI, TRUE);
}

static void do_logout(char **arguments)
{
	(void)arguments;
	purple_account_disconnect(account);
}

static PurpleConversation *conversation_with(const char *who)
{
	PurpleConversation *found = purple_find_conversation_with_account(PURPLE_CONV_TYPE_IM, who, account);

	return found ? found : purple_conversation_new(PURPLE_CONV_TYPE_IM, account, who);
}

static void do_send(char **arguments)
{
	char *escaped = g_markup_escape_text(arguments[1], -1);
	char *html = purple_strreplace(escaped, "\n", "<br>");

	purple_conv_im_send(PURPLE_CONV_IM(conversation_with(arguments[0])), html);
	g_free(html);
	g_free(escaped);
}

static void do_send_html(char **arguments)
{
	purple_conv_im_send(PURPLE_CONV_IM(conversation_with(arguments[0])), arguments[1]);
}

static void do_close(char **arguments)
{
	purple_conversation_destroy(conversation_with(arguments[0]));
}

static void send_typing(const char *who, PurpleTypingState state)
{
	PurpleConnection *connection = purple_account_get_connection(account);

	if (connection)
		serv_send_typing(connection, who, state);
}

static void do_type(char **arguments)
{
	send_typing(arguments[0], PURPLE_TYPING);
}

/* Pidgin's "paused": it is what makes sipe say that its user has stopped. */
static void do_pause(char **arguments)
{
	send_typing(arguments[0], PURPLE_TYPED);
}

static void do_status(char **arguments)
{
	PurpleConnection *connection = purple_account_get_connection(account);

	/* "The user is here": without it sipe waits a second whether the change comes from idleness. */
	if (connection)
		PURPLE_PLUGIN_PROTOCOL_INFO(purple_connection_get_prpl(connection))->set_idle(connection, 0);
	purple_account_set_status(account, arguments[0], TRUE, "message", arguments[1], NULL);
}

static void do_add(char **arguments)
{
	PurpleGroup *group = purple_find_group(GROUP);
	PurpleBuddy *buddy = purple_buddy_new(account, arguments[0], NULL);

	if (group == NULL) {
		group = purple_group_new(GROUP);
		purple_blist_add_group(group, NULL);
	}
	purple_blist_add_buddy(buddy, NULL, group, NULL);
	purple_account_add_buddy(account, buddy);
}

static void do_remove(char **arguments)
{
	PurpleBuddy *buddy = purple_find_buddy(account, arguments[0]);

	if (buddy == NULL) {
		tell("notice", "no such contact", arguments[0], NULL);
		return;
	}
	purple_account_remove_buddy(account, buddy, purple_buddy_get_group(buddy));
	purple_blist_remove_buddy(buddy);
}

static void decide(const char *who, gboolean allow)
{
	struct request *request = g_hash_table_lookup(requests, who);

	if (request != NULL) {
		(allow ? request->authorize : request->deny)(request->data);
		g_hash_table_remove(requests, who);
	} else if (allow) {
		purple_privacy_deny_remove(account, who, FALSE);
	} else {
		purple_privacy_deny_add(account, who, FALSE);
	}
}

static void do_approve(char **arguments)
{
	decide(arguments[0], TRUE);
}

static void do_deny(char **arguments)
{
	decide(arguments[0], FALSE);
}

/* A contact's context menu, by the words of an entry; those of an upper level go before those below. */
static gboolean choose(GList *menu, PurpleBlistNode *contact, const char *label)
{
	GList *place;

	for (place = menu; place; place = place->next) {
		PurpleMenuAction *entry = place->data;

		if (entry && entry->callback && entry->label && strstr(entry->label, label)) {
			((void (*)(PurpleBlistNode *, gpointer))entry->callback)(contact, entry->data);
			return TRUE;
		}
	}
	for (place = menu; place; place = place->next)
		if (place->data && choose(((PurpleMenuAction *)place->data)->children, contact, label))
			return TRUE;
	return FALSE;
}

static void do_menu(char **arguments)
{
	PurpleBuddy *buddy = purple_find_buddy(account, arguments[0]);
	PurpleConnection *connection = purple_account_get_connection(account);
	PurplePluginProtocolInfo *info;

	if (buddy == NULL || connection == NULL) {
		tell("notice", "no such contact", arguments[0], NULL);
		return;
	}
	info = PURPLE_PLUGIN_PROTOCOL_INFO(purple_connection_get_prpl(connection));
	if (!choose(info->blist_node_menu((PurpleBlistNode *)buddy), (PurpleBlistNode *)buddy, arguments[1]))
		tell("notice", "no such entry", arguments[1], NULL);
}

static const struct {
	const char *word;
	guint arguments;
	void (*act)(char **arguments);
} verbs[] = {
	{"login", 1, do_login}, {"logout", 0, do_logout}, {"send", 2, do_send}, {"send-html", 2, do_send_html},
	{"close", 1, do_close}, {"type", 1, do_type}, {"pause", 1, do_pause}, {"status", 2, do_status},
	{"add", 1, do_add}, {"remove", 1, do_remove}, {"approve", 1, do_approve}, {"deny", 1, do_deny},
	{"menu", 2, do_menu},
};

static char *unescape(const char *field)
{
	GString *text = g_string_new(NULL);

	for (; *field; field++) {
		char letter = *field;

		if (letter == '\\' && field[1]) {
			field++;
			letter = *field == 't' ? '\t' : *field == 'n' ? '\n' : *field == 'r' ? '\r' : *field;
		}
		g_string_append_c(text, letter);
	}
	return g_string_free(text, FALSE);
}

static void obey(char *line)
{
	char **words = g_strsplit(line, "\t", 0);
	guint count = g_strv_length(words);
	guint index;

	for (index = 0; index < count; index++) {
		char *text = unescape(words[index]);

		g_free(words[index]);
		words[index] = text;
	}
	for (index = 0; index < G_N_ELEMENTS(verbs); index++)
		if (count && strcmp(verbs[index].word, words[0]) == 0 && verbs[index].arguments == count - 1)
			break;
	if (index < G_N_ELEMENTS(verbs))
		verbs[index].act(words + 1);
	else
		tell("notice", "no such verb", line, NULL);
	g_strfreev(words);
}

static gboolean on_input(GIOChannel *channel, GIOCondition condition, gpointer data)
{
	char *line = NULL;
	gsize end = 0;
	GIOStatus status = g_io_channel_read_line(channel, &line, NULL, &end, NULL);

	(void)condition;
	(void)data;
	if (status == G_IO_STATUS_AGAIN)
		return TRUE;
	if (status != G_IO_STATUS_NORMAL) {
		g_main_loop_quit(loop);
		return FALSE;
	}
	line[end] = '\0';
	obey(line);
	g_free(line);
	return TRUE;
}

/* libpurple wants its host to bring the event loop. */

struct watch {
	PurpleInputFunction call;
	gpointer data;
};

static gboolean on_ready(GIOChannel *channel, GIOCondition condition, gpointer data)
{
	struct watch *watch = data;
	int found = 0;

	if (condition & (G_IO_IN | G_IO_HUP | G_IO_ERR))
		found |= PURPLE_INPUT_READ;
	if (condition & (G_IO_OUT | G_IO_HUP | G_IO_ERR | G_IO_NVAL))
		found |= PURPLE_INPUT_WRITE;
	watch->call(watch->data, g_io_channel_unix_get_fd(channel), found);
	return TRUE;
}

static guint input_add(int fd, PurpleInputCondition condition, PurpleInputFunction call, gpointer data)
{
	struct watch *watch = g_new0(struct watch, 1);
	GIOChannel *channel = g_io_channel_unix_new(fd);
	int wanted = G_IO_HUP | G_IO_ERR | G_IO_NVAL;
	guint handle;

	watch->call = call;
	watch->data = data;
	if (condition & PURPLE_INPUT_READ)
		wanted |= G_IO_IN;
	if (condition & PURPLE_INPUT_WRITE)
		wanted |= G_IO_OUT;
	handle = g_io_add_watch_full(channel, G_PRIORITY_DEFAULT, wanted, on_ready, watch, g_free);
	g_io_channel_unref(channel);
	return handle;
}

static PurpleEventLoopUiOps loop_ops = {
	.timeout_add = g_timeout_add,
	.timeout_remove = g_source_remove,
	.input_add = input_add,
	.input_remove = g_source_remove,
	.timeout_add_seconds = g_timeout_add_seconds,
};
static PurpleAccountUiOps account_ops = {
	.request_add = on_request_add,
	.request_authorize = on_request_authorize,
	.close_account_request = on_request_closed,
};
static PurpleConnectionUiOps connection_ops = {.report_disconnect_reason = on_disconnect};
static PurpleNotifyUiOps notify_ops = {.notify_message = on_notice};

static void set_ui_ops(void)
{
	purple_accounts_set_ui_ops(&account_ops);
	purple_connections_set_ui_ops(&connection_ops);
	purple_notify_set_ui_ops(&notify_ops);
}

static PurpleCoreUiOps core_ops = {.ui_init = set_ui_ops};

static void listen_to(void *source, const char *name, void (*call)(void))
{
	static int handle;

	purple_signal_connect(source, name, &handle, PURPLE_CALLBACK(call), NULL);
}

static void listen_to_all(void)
{
	void *contacts = purple_blist_get_handle(), *talks = purple_conversations_get_handle();

	listen_to(contacts, "buddy-signed-on", (void (*)(void))on_buddy);
	listen_to(contacts, "buddy-signed-off", (void (*)(void))on_buddy);
	listen_to(contacts, "buddy-added", (void (*)(void))on_buddy);
	listen_to(contacts, "buddy-status-changed", (void (*)(void))on_status);
	listen_to(talks, "received-im-msg", (void (*)(void))on_message);
	listen_to(talks, "wrote-im-msg", (void (*)(void))on_written);
	listen_to(talks, "buddy-typing", (void (*)(void))on_typing);
	listen_to(talks, "buddy-typed", (void (*)(void))on_typing_stopped);
	listen_to(talks, "buddy-typing-stopped", (void (*)(void))on_typing_stopped);
	listen_to(purple_connections_get_handle(), "signed-on", (void (*)(void))on_signed_on);
	listen_to(purple_connections_get_handle(), "signed-off", (void (*)(void))on_signed_off);
}

static void make_sipe_account(const char *user)
{
	char *name = g_strdup_printf("%s,%.*s", user, (int)strcspn(user, "@"), user);

	account = purple_account_new(name, "prpl-sipe");
	g_free(name);
	purple_account_set_string(account, "transport", "tcp");
	purple_account_set_bool(account, "dont-publish", TRUE); /* its calendar, that is */
}

/* Over UDP: over TCP it loses what it receives. */
static void make_simple_account(const char *user)
{
	account = purple_account_new(user, "prpl-simple");
	purple_account_set_bool(account, "udp", TRUE);
	purple_account_set_bool(account, "dopublish", FALSE);
}

static void make_account(const char *protocol, const char *user, const char *password)
{
	(strcmp(protocol, "prpl-simple") == 0 ? make_simple_account : make_sipe_account)(user);
	purple_account_set_remember_password(account, TRUE);
	purple_account_set_password(account, password);
	purple_accounts_add(account);
	purple_account_set_status(account, "available", TRUE, NULL);
}

int main(int count, char **arguments)
{
	GIOChannel *input;

	const char *protocol = count == 5 ? arguments[4] : "prpl-sipe";

	if (count != 4 && count != 5) {
		fprintf(stderr, "usage: %s FOLDER USER@DOMAIN PASSWORD [prpl-sipe|prpl-simple]\n", arguments[0]);
		return 2;
	}
	events = fdopen(dup(STDOUT_FILENO), "w");
	if (events == NULL || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) /* libpurple logs to standard output */
		return 2;
	requests = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	loop = g_main_loop_new(NULL, FALSE);

	purple_util_set_user_dir(arguments[1]);
	purple_debug_set_enabled(TRUE);
	purple_core_set_ui_ops(&core_ops);
	purple_eventloop_set_ui_ops(&loop_ops);
	if (!purple_core_init(UI)) {
		fprintf(stderr, "libpurple does not start\n");
		return 2;
	}
	purple_set_blist(purple_blist_new());
	purple_prefs_set_bool("/purple/logging/log_ims", FALSE);
	purple_prefs_set_bool("/purple/logging/log_system", FALSE);
	purple_prefs_set_string("/purple/away/idle_reporting", "none");
	if (purple_find_prpl(protocol) == NULL) {
		fprintf(stderr, "libpurple has no %s\n", protocol);
		return 2;
	}
	listen_to_all();
	make_account(protocol, arguments[2], arguments[3]);

	input = g_io_channel_unix_new(STDIN_FILENO);
	g_io_channel_set_encoding(input, NULL, NULL);
	g_io_channel_set_flags(input, G_IO_FLAG_NONBLOCK, NULL);
	g_io_add_watch(input, G_IO_IN | G_IO_HUP | G_IO_ERR, on_input, NULL);
	tell("ready", NULL);
	g_main_loop_run(loop);
	purple_core_quit();
	return 0;
}
