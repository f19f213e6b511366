package web

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	xlanguage "golang.org/x/text/language"

	"github.com/admitone/admitone/token"
)

// Texts are the pages' texts in one language. Some texts take {name}, the name of the
// person who is about to enter or has entered, and {current}, the name of the person who
// is signed in now.
type Texts struct {
	ConfirmTitle  string // {name}; the page that asks before a ticket is spent
	ConfirmText   string
	ConfirmButton string
	ReplaceText   string // {name} {current}; on that page, if another user is signed in

	Name, User, Email, Brand string // labels on that page

	OtherUserTitle string // {name} {current}; the page if another user is signed in and stays so
	OtherUserText  string // {name} {current}

	OtherUserButton string // signs out, if Config.Logout is set

	NoCookieTitle  string // the page in a frame, if the browser keeps no cookies
	NoCookieText   string
	NoCookieButton string // opens a new tab

	SignInButton string // leads to the organisation's own sign-in page, with Page.SignIn

	PreviewTitle, PreviewText string // for crawlers, which show it to people as the preview of a link with a ticket

	RefusedTitle, RefusedText   string // for every ticket that does not admit
	LaterTitle, LaterText       string // if nobody can tell now whether a ticket admits
	FailedTitle, FailedText     string // after a failure of the service, with the ticket spent
	NobodyTitle, NobodyText     string // without a ticket: nobody is signed in
	SignedInTitle, SignedInText string // {name} in the title; without a ticket: a user is signed in

	Reference string // label of the request's ID, on pages about a failure, if the answer has X-Request-Id
}

var builtIn = map[string]Texts{
	"en": {
		ConfirmTitle: "Continue as {name}?",
		ConfirmText: "You opened a link that signs you in. If this is not you, close this page: nothing has " +
			"happened yet.",
		ConfirmButton:   "Continue",
		ReplaceText:     "You are signed in as {current}. If you continue, {current} is signed out.",
		Name:            "Name",
		User:            "User",
		Email:           "Email",
		Brand:           "At",
		OtherUserTitle:  "You are signed in as {current}",
		OtherUserText:   "The link is for {name}, and was not used. To use it, sign out first and then open it again.",
		OtherUserButton: "Sign out",
		NoCookieTitle:   "One more step",
		NoCookieText: "Your browser keeps no cookies for this page here. Open it in a tab of its own. If you see " +
			"this there, too, allow cookies for this site.",
		NoCookieButton: "Open in a new tab",
		SignInButton:   "Sign in",
		PreviewTitle:   "Sign in",
		PreviewText: "This link signs somebody in. If you got it for yourself, open it and continue; do not pass " +
			"it on.",
		RefusedTitle: "This link does not work any more",
		RefusedText: "Such a link works for a short time, and often only once. Go back to where you got it and ask " +
			"for a new one.",
		LaterTitle: "Please try again in a moment",
		LaterText: "Your link could not be checked just now. Reload this page in a few seconds; if that does not " +
			"help, go back to where you got the link and ask for a new one.",
		FailedTitle: "Something went wrong on our side",
		FailedText: "You could not be signed in. Reload this page now; if that does not help, go back to where " +
			"you got the link and ask for a new one.",
		NobodyTitle:   "You are not signed in",
		NobodyText:    "This page is opened by a link. Go back to where you came from and open the link there again.",
		SignedInTitle: "You are signed in as {name}",
		SignedInText:  "You can close this page.",
		Reference:     "Reference for support:",
	},
	"de": {
		ConfirmTitle: "Als {name} fortfahren?",
		ConfirmText: "Sie haben einen Link geöffnet, der Sie anmeldet. Wenn das nicht Sie sind, schließen Sie " +
			"diese Seite: Es ist noch nichts geschehen.",
		ConfirmButton:  "Fortfahren",
		ReplaceText:    "Sie sind als {current} angemeldet. Wenn Sie fortfahren, wird {current} abgemeldet.",
		Name:           "Name",
		User:           "Benutzer",
		Email:          "E-Mail",
		Brand:          "Bei",
		OtherUserTitle: "Sie sind als {current} angemeldet",
		OtherUserText: "Der Link ist für {name} und wurde nicht verwendet. Melden Sie sich erst ab und öffnen Sie " +
			"ihn dann noch einmal.",
		OtherUserButton: "Abmelden",
		NoCookieTitle:   "Noch ein Schritt",
		NoCookieText: "Ihr Browser behält hier keine Cookies für diese Seite. Öffnen Sie sie in einem eigenen Tab. " +
			"Wenn Sie dies auch dort sehen, erlauben Sie Cookies für diese Seite.",
		NoCookieButton: "In neuem Tab öffnen",
		SignInButton:   "Anmelden",
		PreviewTitle:   "Anmelden",
		PreviewText: "Dieser Link meldet jemanden an. Wenn Sie ihn für sich selbst bekommen haben, öffnen Sie ihn " +
			"und fahren Sie fort; geben Sie ihn nicht weiter.",
		RefusedTitle: "Dieser Link gilt nicht mehr",
		RefusedText: "Ein solcher Link gilt kurze Zeit und oft nur einmal. Gehen Sie dorthin zurück, wo Sie ihn " +
			"bekommen haben, und holen Sie sich einen neuen.",
		LaterTitle: "Bitte versuchen Sie es gleich noch einmal",
		LaterText: "Ihr Link konnte gerade nicht geprüft werden. Laden Sie diese Seite in einigen Sekunden neu; " +
			"hilft das nicht, holen Sie sich dort, wo Sie den Link bekommen haben, einen neuen.",
		FailedTitle: "Bei uns ist etwas schiefgegangen",
		FailedText: "Sie konnten nicht angemeldet werden. Laden Sie diese Seite jetzt neu; hilft das nicht, holen " +
			"Sie sich dort, wo Sie den Link bekommen haben, einen neuen.",
		NobodyTitle: "Sie sind nicht angemeldet",
		NobodyText: "Diese Seite wird mit einem Link geöffnet. Gehen Sie dorthin zurück, wo Sie herkommen, und " +
			"öffnen Sie den Link dort noch einmal.",
		SignedInTitle: "Sie sind als {name} angemeldet",
		SignedInText:  "Sie können diese Seite schließen.",
		Reference:     "Kennung für den Support:",
	},
	"fr": {
		ConfirmTitle: "Continuer en tant que {name} ?",
		ConfirmText: "Vous avez ouvert un lien qui vous connecte. Si ce n’est pas vous, fermez cette page : rien ne " +
			"s’est encore passé.",
		ConfirmButton:  "Continuer",
		ReplaceText:    "Vous êtes connecté en tant que {current}. Si vous continuez, {current} sera déconnecté.",
		Name:           "Nom",
		User:           "Utilisateur",
		Email:          "E-mail",
		Brand:          "Chez",
		OtherUserTitle: "Vous êtes connecté en tant que {current}",
		OtherUserText: "Le lien est destiné à {name} et n’a pas été utilisé. Pour l’utiliser, déconnectez-vous " +
			"d’abord, puis ouvrez-le de nouveau.",
		OtherUserButton: "Se déconnecter",
		NoCookieTitle:   "Encore une étape",
		NoCookieText: "Votre navigateur ne conserve ici aucun cookie pour cette page. Ouvrez-la dans un onglet " +
			"séparé. Si ce message y apparaît aussi, autorisez les cookies pour ce site.",
		NoCookieButton: "Ouvrir dans un nouvel onglet",
		SignInButton:   "Se connecter",
		PreviewTitle:   "Se connecter",
		PreviewText: "Ce lien connecte quelqu’un. S’il vous est destiné, ouvrez-le et continuez ; ne le " +
			"transmettez pas.",
		RefusedTitle: "Ce lien ne fonctionne plus",
		RefusedText: "Un tel lien fonctionne peu de temps, et souvent une seule fois. Retournez là où vous l’avez " +
			"obtenu et demandez-en un nouveau.",
		LaterTitle: "Veuillez réessayer dans un instant",
		LaterText: "Votre lien n’a pas pu être vérifié. Rechargez cette page dans quelques secondes ; si cela " +
			"n’aide pas, retournez là où vous avez obtenu le lien et demandez-en un nouveau.",
		FailedTitle: "Un problème est survenu de notre côté",
		FailedText: "Vous n’avez pas pu être connecté. Rechargez cette page maintenant ; si cela n’aide pas, " +
			"retournez là où vous avez obtenu le lien et demandez-en un nouveau.",
		NobodyTitle: "Vous n’êtes pas connecté",
		NobodyText: "Cette page s’ouvre par un lien. Retournez là d’où vous venez et ouvrez-y le lien de " +
			"nouveau.",
		SignedInTitle: "Vous êtes connecté en tant que {name}",
		SignedInText:  "Vous pouvez fermer cette page.",
		Reference:     "Référence pour l’assistance :",
	},
	"es": {
		ConfirmTitle: "¿Continuar como {name}?",
		ConfirmText: "Ha abierto un enlace que inicia su sesión. Si no es usted, cierre esta página: todavía no ha " +
			"ocurrido nada.",
		ConfirmButton:  "Continuar",
		ReplaceText:    "Ha iniciado sesión como {current}. Si continúa, se cerrará la sesión de {current}.",
		Name:           "Nombre",
		User:           "Usuario",
		Email:          "Correo electrónico",
		Brand:          "En",
		OtherUserTitle: "Ha iniciado sesión como {current}",
		OtherUserText: "El enlace es para {name} y no se ha utilizado. Para utilizarlo, cierre primero la sesión y " +
			"ábralo de nuevo.",
		OtherUserButton: "Cerrar sesión",
		NoCookieTitle:   "Un paso más",
		NoCookieText: "Su navegador no guarda aquí cookies para esta página. Ábrala en una pestaña propia. Si allí " +
			"también ve este mensaje, permita las cookies para este sitio.",
		NoCookieButton: "Abrir en una pestaña nueva",
		SignInButton:   "Iniciar sesión",
		PreviewTitle:   "Iniciar sesión",
		PreviewText: "Este enlace inicia la sesión de alguien. Si es para usted, ábralo y continúe; no lo comparta " +
			"con nadie.",
		RefusedTitle: "Este enlace ya no funciona",
		RefusedText: "Un enlace así funciona durante poco tiempo, y a menudo una sola vez. Vuelva al lugar donde lo " +
			"obtuvo y pida uno nuevo.",
		LaterTitle: "Inténtelo de nuevo en un momento",
		LaterText: "No se ha podido comprobar su enlace. Recargue esta página dentro de unos segundos; si no ayuda, " +
			"vuelva al lugar donde obtuvo el enlace y pida uno nuevo.",
		FailedTitle: "Algo ha fallado por nuestra parte",
		FailedText: "No se ha podido iniciar su sesión. Recargue esta página ahora; si no ayuda, vuelva al lugar " +
			"donde obtuvo el enlace y pida uno nuevo.",
		NobodyTitle: "No ha iniciado sesión",
		NobodyText: "Esta página se abre con un enlace. Vuelva al lugar de donde viene y abra allí el enlace de " +
			"nuevo.",
		SignedInTitle: "Ha iniciado sesión como {name}",
		SignedInText:  "Puede cerrar esta página.",
		Reference:     "Referencia para soporte:",
	},
	"he": {
		ConfirmTitle:    "להמשיך בתור {name}?",
		ConfirmText:     "נפתח קישור שמכניס אותך לחשבון. אם אין מדובר בך, אפשר לסגור את הדף: עדיין לא קרה דבר.",
		ConfirmButton:   "המשך",
		ReplaceText:     "החשבון הפתוח כעת הוא של {current}. המשך ינתק את {current}.",
		Name:            "שם",
		User:            "משתמש",
		Email:           "דוא״ל",
		Brand:           "אצל",
		OtherUserTitle:  "החשבון הפתוח כעת הוא של {current}",
		OtherUserText:   "הקישור מיועד אל {name} ולא נעשה בו שימוש. יש לצאת קודם מהחשבון ואז לפתוח את הקישור שוב.",
		OtherUserButton: "יציאה מהחשבון",
		NoCookieTitle:   "עוד צעד אחד",
		NoCookieText: "הדפדפן אינו שומר כאן עוגיות עבור דף זה. יש לפתוח אותו בלשונית נפרדת. אם ההודעה מופיעה גם שם, " +
			"יש לאפשר עוגיות לאתר זה.",
		NoCookieButton: "פתיחה בלשונית חדשה",
		SignInButton:   "כניסה לחשבון",
		PreviewTitle:   "כניסה לחשבון",
		PreviewText:    "קישור זה מכניס לחשבון. מי שקיבל אותו לשימוש אישי יכול לפתוח אותו ולהמשיך; אין להעביר אותו הלאה.",
		RefusedTitle:   "הקישור הזה אינו פועל עוד",
		RefusedText:    "קישור כזה פועל לזמן קצר, ולעתים קרובות פעם אחת בלבד. יש לחזור למקום שבו התקבל ולבקש חדש.",
		LaterTitle:     "נא לנסות שוב בעוד רגע",
		LaterText: "לא ניתן היה לבדוק את הקישור כעת. יש לטעון את הדף מחדש בעוד כמה שניות; אם זה לא עוזר, יש " +
			"לחזור למקום שבו התקבל הקישור ולבקש חדש.",
		FailedTitle: "אירעה תקלה אצלנו",
		FailedText: "הכניסה לא הצליחה. יש לטעון את הדף מחדש עכשיו; אם זה לא עוזר, יש לחזור למקום שבו התקבל הקישור " +
			"ולבקש חדש.",
		NobodyTitle:   "לא בוצעה כניסה",
		NobodyText:    "דף זה נפתח באמצעות קישור. יש לחזור למקום שממנו הגעת ולפתוח שם את הקישור שוב.",
		SignedInTitle: "הכניסה בוצעה בתור {name}",
		SignedInText:  "אפשר לסגור את הדף.",
		Reference:     "מספר לפנייה לתמיכה:",
	},
}

// language is a language of the pages.
type language struct {
	tag       string // BCP 47
	direction string // "ltr" or "rtl"
	texts     Texts
}

// languages are all languages of the pages. The first, English, is for everybody who asks
// for no other.
type languages struct {
	all     []language
	matcher xlanguage.Matcher
}

// rightToLeft has the scripts that are written from right to left and have letters in use
// today (Unicode's Bidi_Class R and AL).
var rightToLeft = map[string]bool{
	"Arab": true, "Hebr": true, "Syrc": true, "Thaa": true, "Nkoo": true, "Adlm": true, "Rohg": true, "Mand": true,
	"Samr": true,
}

func newLanguages(more map[string]Texts) (*languages, error) {
	texts := map[string]Texts{"en": builtIn["en"]}
	for _, set := range []map[string]Texts{builtIn, more} {
		for name, t := range set {
			tag, err := xlanguage.Parse(name)
			if err != nil {
				reason := fmt.Sprintf("has the language %q; name it as in BCP 47, such as fr or pt-BR", name)
				return nil, &token.ConfigError{Field: "web.Config.Texts", Reason: reason}
			}
			texts[tag.String()] = t.or(texts[tag.String()]).or(builtIn["en"])
		}
	}
	l := new(languages)
	tags := []xlanguage.Tag{xlanguage.English}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if name != "en" {
			tags = append(tags, xlanguage.Make(name))
		}
	}
	for _, tag := range tags {
		script, _ := tag.Script()
		direction := "ltr"
		if rightToLeft[script.String()] {
			direction = "rtl"
		}
		l.all = append(l.all, language{tag.String(), direction, texts[tag.String()]})
	}
	l.matcher = xlanguage.NewMatcher(tags)
	return l, nil
}

// or returns t with its empty fields taken from other.
func (t Texts) or(other Texts) Texts {
	to, from := reflect.ValueOf(&t).Elem(), reflect.ValueOf(other)
	for i := range to.NumField() {
		if to.Field(i).String() == "" {
			to.Field(i).SetString(from.Field(i).String())
		}
	}
	return t
}

// of returns the wanted language. If that is empty or unknown, of returns the best
// language for the request, or else English.
func (l *languages) of(r *http.Request, tag string) *language {
	if tag != "" {
		if _, i, confidence := l.matcher.Match(xlanguage.Make(tag)); confidence != xlanguage.No {
			return &l.all[i]
		}
	}
	wanted := strings.Join(r.Header.Values("Accept-Language"), ",")
	if len(wanted) > 512 { // longer than any browser's
		return &l.all[0]
	}
	tags, _, err := xlanguage.ParseAcceptLanguage(wanted)
	if err != nil {
		return &l.all[0]
	}
	_, i, confidence := l.matcher.Match(tags...)
	if confidence == xlanguage.No {
		i = 0
	}
	return &l.all[i]
}
